"""The defences of the tables of attacks, each with the change of the source that removes it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY: Final = Path(__file__).parent.parent.parent
_SOURCE: Final = Path("src/mainspring")


@dataclass(frozen=True, slots=True)
class Table:
    """Attacks that one test tries row by row, and the tests beside it that no removal may break.

    Attributes:
        title: What the attacks have in common.
        attacks: The ids of the tests, as pytest takes them.
        peace: Tests of what is allowed: where one of these breaks, the change did more than remove a defence.
    """

    title: str
    attacks: tuple[str, ...]
    peace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """A change that takes a defence away.

    Attributes:
        defence: What is taken away.
        table: Whose rows must notice.
        changes: For each place its file below `src/mainspring`, what stands there once, and what stands there without
            the defence. Several places: attacks that each of them alone would stop.
    """

    defence: str
    table: Table
    changes: tuple[tuple[str, str, str], ...]

    @contextmanager
    def applied(self, root: Path) -> Iterator[None]:
        """Change a copy of the repository for the time of a block.

        Raises:
            LookupError: The text does not stand in its file exactly once: the source has moved on.
        """
        before: dict[Path, str] = {}
        try:
            for file, text, instead in self.changes:
                path = root / _SOURCE / file
                source = path.read_text(encoding="utf-8")
                before.setdefault(path, source)
                if (found := source.count(text)) != 1:
                    raise LookupError(f"{self.defence}: what to remove stands {found} times in {file}: {text!r}")
                path.write_text(source.replace(text, instead), encoding="utf-8")
            yield
        finally:
            for path, source in before.items():
                path.write_text(source, encoding="utf-8")


TOKENS: Final = Table(
    "forged tokens",
    (
        "tests/unit/test_tokens.py::test_a_forged_token_is_refused_for_what_is_wrong_with_it",
        "tests/unit/test_provider_tokens.py::test_a_forged_token_is_refused_for_what_is_wrong_with_it",
        "tests/unit/test_provider_tokens.py::test_a_claim_that_is_wrong_is_named",
    ),
    (
        "tests/unit/test_tokens.py::test_every_token_has_an_id_of_its_own",
        "tests/unit/test_provider_tokens.py::test_clocks_may_differ_by_a_minute",
    ),
)
ADDRESSES: Final = Table(
    "addresses of the inside",
    (
        "tests/egress/test_addresses.py::test_what_is_not_the_public_internet_is_refused_before_anything_is_sent",
        "tests/egress/test_addresses.py::test_a_name_is_refused_if_any_of_its_addresses_is_inside",
    ),
    ("tests/egress/test_addresses.py::test_a_plain_url_is_read",),
)
RECEIVERS: Final = Table(
    "receivers that lead elsewhere, or without end",
    tuple(
        f"tests/egress/test_client.py::test_{name}"
        for name in (
            "a_name_is_looked_up_once_and_the_checked_address_is_the_one_that_is_called",
            "a_name_that_flips_to_the_inside_between_two_requests_is_refused_at_the_second",
            "a_redirect_is_an_answer_that_nobody_follows",
            "a_receiver_that_never_answers_costs_the_deadline_and_no_more",
            "a_receiver_that_drips_its_answer_meets_the_same_deadline",
            "a_name_that_resolves_slowly_meets_the_same_deadline",
            "of_an_answer_without_end_the_beginning_is_kept",
            "a_packed_answer_is_never_unpacked",
            "proxies_and_credentials_of_the_environment_are_ignored",
        )
    ),
    ("tests/egress/test_client.py::test_the_answer_is_status_headers_and_body",),
)
BODIES: Final = Table(
    "bodies that are too large, too deep or none",
    tuple(
        f"tests/api/test_v1_jobs.py::TestCreate::test_{name}"
        for name in (
            "what_is_not_json_is_400",
            "a_number_that_is_none_is_400",
            "a_deeply_nested_body_is_refused",
            "a_body_over_a_megabyte_is_413",
            "a_body_over_a_megabyte_is_413_though_it_never_says_how_long_it_is",
            "a_payload_over_256_kilobytes_is_refused",
        )
    ),
    ("tests/api/test_v1_jobs.py::TestCreate::test_a_body_nested_as_deep_as_people_do_is_taken",),
)
TEXTS: Final = Table(
    "texts that a database does not take",
    (
        "tests/unit/test_write_door.py::test_any_text_becomes_storable",
        "tests/unit/test_write_door.py::test_any_value_becomes_json_without_nul",
        "tests/unit/test_write_door.py::test_what_json_cannot_say_is_said_otherwise",
        "tests/unit/test_write_door.py::test_a_value_that_holds_itself_ends_somewhere",
    ),
    ("tests/unit/test_write_door.py::test_a_result_within_its_size_is_kept_and_a_larger_one_replaced_by_a_note",),
)


CLAIMS: Final = "security/claims.py"


def _of_tokens() -> list[Removal]:

    def claims(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, TOKENS, ((CLAIMS, text, instead),))

    named = ("exp", "iat", "sub", "jti", "iss", "aud")
    required = "REQUIRED: Final = ({})".format(", ".join(f'"{name}"' for name in named))
    options = 'options={"require": [*REQUIRED], "verify_exp"'
    no_signature = (
        CLAIMS,
        options,
        'options={"require": [*REQUIRED], "verify_signature": False, "verify_aud": True, "verify_exp"',
    )
    any_key = (
        "security/key_set.py",
        "        if key_id not in self._keys:\n            raise",
        "        if key_id not in self._keys:\n            return [*self._keys.values()][0]\n            raise",
    )
    any_name = (CLAIMS, "if not is_name(claims[claim]):", "if False:")
    any_number = (
        CLAIMS,
        "if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):",
        "if False:",
    )
    any_instant = (CLAIMS, "except (OverflowError, ValueError, OSError) as error:", "except KeyError as error:")
    any_algorithm = (
        CLAIMS,
        "algorithms=algorithms,",
        'algorithms=["HS256", "HS512", "RS256", "RS512", "ES256", "none"],',
    )
    return [
        *(
            claims(f"that {name} is required", required, required.replace(f'"{name}"', f'*("{name}",)[1:]'))
            for name in named[:-1]  # the library asks for `aud` itself
        ),
        Removal("the signature", TOKENS, (no_signature,)),
        Removal("the algorithm", TOKENS, (any_algorithm,)),
        Removal("the algorithm and the signature", TOKENS, (any_algorithm, no_signature)),
        Removal("that the provider has the key, and the signature", TOKENS, (any_key, no_signature)),
        Removal(
            "that a token names one of the provider's keys",
            TOKENS,
            (any_key, ("security/provider_tokens.py", "if key_id is None:", "if False:")),
        ),
        Removal(
            "that the audience is required, and the audience",
            TOKENS,
            (
                (CLAIMS, required, required.replace('"aud"', '*("aud",)[1:]')),
                (CLAIMS, options, 'options={"require": [*REQUIRED], "verify_aud": False, "verify_exp"'),
            ),
        ),
        Removal(
            "that names are text, in both libraries",
            TOKENS,
            (
                (
                    CLAIMS,
                    options,
                    'options={"require": [*REQUIRED], "verify_sub": False, "verify_jti": False, "verify_exp"',
                ),
                any_name,
            ),
        ),
        Removal("that instants are numbers, and can be shown", TOKENS, (any_number, any_instant)),
        claims("the issuer", 'if claims["iss"] != self._issuer:', "if False:"),
        claims("the audience", options, 'options={"require": [*REQUIRED], "verify_aud": False, "verify_exp"'),
        claims("the environment", 'if claims.get("env") != self._environment:', "if False:"),
        claims("the role", 'role = Role(claims.get("role"))', "role = Role.MEMBER"),
        claims("the permissions", 'frozenset(map(Permission, claims.get("permissions", [])))', "frozenset()"),
        claims("the end", "if expires_at <= now:", "if False:"),
        claims("the beginning", "if issued_at > now + LEEWAY:", "if False:"),
        claims("nbf", 'if "nbf" in claims and', "if False and"),
        claims("the longest life", "if expires_at - issued_at > LONGEST_TTL:", "if False:"),
        Removal("that names are names", TOKENS, (any_name,)),
        Removal("that instants are numbers", TOKENS, (any_number,)),
        Removal("that instants can be shown", TOKENS, (any_instant,)),
        claims("that a token is one", "except jwt.DecodeError as error:", "except KeyError as error:"),
        claims(
            "that a header can be read",
            "        return jwt.get_unverified_header(text)\n    except jwt.InvalidTokenError as error:",
            "        return jwt.get_unverified_header(text)\n    except KeyError as error:",
        ),
        claims("the size of a token", "if len(text) > _MAX_TOKEN:", "if False:"),
    ]


def _of_networks() -> list[Removal]:
    """Return the removal of each network of the table alone."""
    file = "egress/addresses.py"
    source = (REPOSITORY / _SOURCE / file).read_text(encoding="utf-8")
    networks = re.findall(r'^        ("[0-9a-f.:]+/\d+",).*$', source, re.MULTILINE)
    return [Removal(f"the network {line}", ADDRESSES, ((file, f"        {line}", ""),)) for line in networks]


def _of_addresses() -> list[Removal]:
    def addresses(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, ADDRESSES, (("egress/addresses.py", text, instead),))

    def target(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, ADDRESSES, (("egress/target.py", text, instead),))

    def client(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, ADDRESSES, (("egress/client.py", text, instead),))

    unchecked = ("egress/client.py", "for address in found:", "for address in found[:0]:")
    any_character = ("egress/target.py", "if _AMBIGUOUS.search(url):", "if False:")
    any_scheme = ("egress/target.py", "if parts.scheme not in _DEFAULT_PORTS:", "if False:")
    any_user = ("egress/target.py", 'if "@" in parts.netloc:', "if False:")
    any_host = ("egress/target.py", "if not _NAME.fullmatch(host):", "if False:")
    return [
        *_of_networks(),
        Removal("the scheme, and hosts that are no names", ADDRESSES, (any_scheme, any_host)),
        Removal("characters that parsers read differently, and hosts", ADDRESSES, (any_character, any_host)),
        Removal("users, and the look at every address", ADDRESSES, (any_user, unchecked)),
        Removal("characters, users, and the look", ADDRESSES, (any_character, any_user, unchecked)),
        addresses("that IPv6 is public in 2000::/3 alone", 'IPv6Network("2000::/3")', 'IPv6Network("::/0")'),
        addresses("the address that a mapped one carries", "return is_public(address.ipv4_mapped)", "return True"),
        addresses(
            "the address that NAT64 carries",
            "return is_public(IPv4Address(int(address) & _LAST_32_BITS))",
            "return True",
        ),
        addresses("names of private networks", 'return host == "localhost" or', 'return host == "" or'),
        addresses("suffixes of private networks", "host.endswith(_PRIVATE_SUFFIXES)", "host.endswith(())"),
        client("the look at every address", "for address in found:", "for address in found[:0]:"),
        client("the look beyond the first address", "for address in found:", "for address in found[:1]:"),
        client("the look beyond the last address", "for address in found:", "for address in found[-1:]:"),
        client("the ports", "if not target.has_usual_port:", "if False:"),
        target("the length of a URL", "if len(url) > MAX_URL_CHARACTERS:", "if False:"),
        target("characters that parsers read differently", "if _AMBIGUOUS.search(url):", "if False:"),
        target(
            "that a URL can be read",
            '    except ValueError:\n        raise EgressRefusedError(\n            "the URL cannot be read',
            '    except KeyError:\n        raise EgressRefusedError(\n            "the URL cannot be read',
        ),
        target("the scheme", "if parts.scheme not in _DEFAULT_PORTS:", "if False:"),
        target("users and passwords", 'if "@" in parts.netloc:', "if False:"),
        target("the port after the colon", 'if port == 0 or parts.netloc.endswith(":"):', "if False:"),
        target("hosts that are numbers", "if _NUMBER.fullmatch(host):", "if False:"),
        target("hosts that are no names", "if not _NAME.fullmatch(host):", "if False:"),
        target("names that the DNS does not know", "except UnicodeError:", "except KeyError:"),
        target(
            "addresses of this machine's networks",
            'ipaddress.IPv4Address(text) if "%" in text else ipaddress.ip_address(text)',
            'ipaddress.ip_address("8.8.8.8" if "%" in text else text)',
        ),
    ]


def _of_receivers() -> list[Removal]:
    def client(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, RECEIVERS, (("egress/client.py", text, instead),))

    send = "response = await transport.handle_async_request(request)"
    return [
        client(
            "the pinned address",
            'f"{target.scheme}://{bracketed(address)}:{target.port}{target.path}"',
            'f"{target.scheme}://{bracketed(list(await self._look_up(target))[0])}:{target.port}{target.path}"',
        ),
        client("the look at every address", "for address in found:", "for address in found[:0]:"),
        client(
            "that redirects are not followed",
            send,
            f"{send}\n{' ' * 12}while (to := response.headers.get('location')):"
            f"\n{' ' * 16}response = await transport.handle_async_request(httpx2.Request('GET', to))",
        ),
        client(
            "the deadline", "async with asyncio.timeout(deadline.total_seconds()):", "async with asyncio.timeout(None):"
        ),
        client("the size of an answer", "if len(received) > max_body_bytes:", "if len(received) > 10**9:"),
        client("that nothing is unpacked", "response.aiter_raw()", "response.aiter_bytes()"),
        client(
            "that proxies of the environment are ignored",
            "httpx2.AsyncHTTPTransport(verify=self._tls_context)",
            'httpx2.AsyncHTTPTransport(verify=self._tls_context, proxy=__import__("os").environ.get("HTTP_PROXY"))',
        ),
    ]


def _of_bodies() -> list[Removal]:
    def deps(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, BODIES, (("api/request_body.py", text, instead),))

    counted = (
        "api/request_body.py",
        "if len(body) > MAX_BODY_BYTES:\n            raise too_large",
        "if len(body) > 10**7:\n            break",
    )
    return [
        Removal(
            "the announced size and the counted one",
            BODIES,
            (("api/request_body.py", "if announced.isdecimal() and", "if False and"), counted),
        ),
        Removal("the counted size", BODIES, (counted,)),
        deps("the depth", "if not _is_shallow(value):", "if False:"),
        deps("the depth at which the parser stops", 'if "depth limit" in error.msg:', "if False:"),
        deps("that a body is JSON", "except json.JSONDecodeError as error:", "except KeyError as error:"),
        Removal(
            "the size of a payload",
            BODIES,
            (("domain/write_door.py", "    if size > MAX_VALUE_BYTES:\n        msg", "    if False:\n        msg"),),
        ),
    ]


def _of_texts() -> list[Removal]:
    def door(defence: str, text: str, instead: str) -> Removal:
        return Removal(defence, TEXTS, (("domain/write_door.py", text, instead),))

    return [
        door("lone surrogates", 'text = text.encode("utf-8", "replace").decode("utf-8")', "pass"),
        door("NUL in texts", 'if "\\x00" in text:', "if False:"),
        door("NUL in JSON", 'if b"\\\\u0000" in text:', "if False:"),
        door("what JSON cannot say", "except (TypeError, ValueError, RecursionError):", "except KeyError:"),
        door("keys that are no text", "{verbatim_text(str(key), _MAX_REPR): to_jsonable", "{key: to_jsonable"),
        door("the depth of a value", "if depth > _MAX_DEPTH:", "if False:"),
    ]


REMOVALS: Final = (
    *_of_tokens(),
    *_of_addresses(),
    *_of_receivers(),
    *_of_bodies(),
    *_of_texts(),
)
TABLES: Final = (TOKENS, ADDRESSES, RECEIVERS, BODIES, TEXTS)
