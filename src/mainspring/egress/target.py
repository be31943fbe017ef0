"""Reading a URL that somebody else chose: one parser, and no form that another parser could read differently."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mainspring.errors import EgressRefusedError

MAX_URL_CHARACTERS: Final = 2_048
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_AMBIGUOUS: Final = re.compile(r"[\x00-\x20\x7f\\]")
_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_NUMBER: Final = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: `http` or `https`.
        host: A name in ASCII and lower case, or an address in its plain form.
        port: 1 to 65535.
        path: The path and the query, beginning with a slash. It may hold a secret: it never stands in a message.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """The part that may be said aloud: scheme, host, and the port where it is not the usual one."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = bracketed(self.host)
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def has_usual_port(self) -> bool:
        """Whether a web server may be expected there: 80, 443, or a port that needs no privilege."""
        return self.port in _DEFAULT_PORTS.values() or self.port >= 1024  # noqa: PLR2004 - the first unprivileged port


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def read_target(url: str) -> Target:
    """Return what a URL names.

    Args:
        url: At most 2,048 characters.

    Raises:
        EgressRefusedError: It is no plain `http` or `https` URL; the message says why, and never repeats the URL.

    Example:
        >>> read_target("https://Example.com/hook?id=7").authority
        'example.com'
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise EgressRefusedError(f"the URL has {len(url):,} characters, and at most {MAX_URL_CHARACTERS:,} are taken")
    if _AMBIGUOUS.search(url):
        raise EgressRefusedError("the URL holds a space, a control character or a backslash: write it percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise EgressRefusedError(
            "the URL cannot be read: write `https://host/path`, with a port of 1 to 65535"
        ) from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise EgressRefusedError("the URL has another scheme than http or https")
    if "@" in parts.netloc:
        raise EgressRefusedError("the URL holds a user or a password: leave them out")
    if port == 0 or parts.netloc.endswith(":"):
        raise EgressRefusedError("the URL has no port after its colon: leave the colon out, or write 1 to 65535")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, _host_of(parts), port or _DEFAULT_PORTS[parts.scheme], path)


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return _address(host)
    try:
        # Nameprep turns full-width digits and dots into plain ones, so that what is checked is what is looked up.
        host = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise EgressRefusedError("the URL's host is no name that the DNS knows") from None
    if _NUMBER.fullmatch(host):
        return _address(host)
    if not _NAME.fullmatch(host):
        raise EgressRefusedError("the URL's host is no name that the DNS knows")
    return host


def _address(text: str) -> str:
    """Return an address in its one plain form: `127.1`, `0x7f000001` and `0177.0.0.1` are for those who hide it."""
    try:
        # A zone (`fe80::1%eth0`) names a network of this machine: the text with it is no address for `IPv4Address`.
        return str(ipaddress.IPv4Address(text) if "%" in text else ipaddress.ip_address(text))
    except ValueError:
        raise EgressRefusedError(
            "the URL's host is a number that is no plain IP address: write four decimal numbers, or IPv6 in brackets"
        ) from None
