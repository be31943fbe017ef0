"""The HTTP client for addresses that others chose: resolved once, checked, pinned, bounded in time and size.

What it defends against stands in `docs/security.md` (S24 to S27, S30): internal addresses, names that resolve to
another address at the second look, redirects to the inside, answers that never end or grow when they are unpacked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mainspring.egress.addresses import AllowList, is_private_name, is_public
from mainspring.egress.target import bracketed, read_target
from mainspring.errors import EgressFailedError, EgressRefusedError, EgressUnreachableError
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor  # noqa: TID251 - the type alone
    from datetime import datetime

    import httpx2

    from mainspring.egress.addresses import Address
    from mainspring.egress.target import Target
    from mainspring.world import World

    Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

DEADLINE: Final = timedelta(seconds=5)
MAX_BODY_BYTES: Final = 1_000_000
_RESOLVER_THREADS: Final = 4
_BROKEN_OFF: Final = "broke the connection off before it had answered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side answered.

    Attributes:
        status: The HTTP status. Redirects are answers like others: nobody follows them.
        headers: By name in lower case.
        body: Its bytes as they came, at most as many as were asked for; never unpacked.
        truncated: Whether there was more.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110 §15

    def retry_after(self, now: datetime) -> timedelta | None:
        """Return how long the other side asks to wait (RFC 9110 §10.2.3), None where it does not say."""
        said = self.headers.get("retry-after", "").strip()
        if said.isascii() and said.isdigit():
            return timedelta(seconds=min(int(said[:9]), 10**9))
        try:
            return max(timedelta(0), parsedate_to_datetime(said) - now)
        except (ValueError, TypeError):  # nothing was said, or an instant without a zone
            return None


class Egress:
    """Sends requests to the outside.

    Args:
        allow: Hosts, addresses and CIDR ranges that may be reached although they are not public.
        world: For the threads that resolve names.
        resolve: Returns the addresses of a host and port; by default the system's resolver, in threads of its own so
            that slow names keep nobody else waiting.
        tls: What certificates are trusted; by default those that the operating system trusts.

    Raises:
        ConfigurationError: An entry of `allow` cannot be read.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        *,
        world: World,
        resolve: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = AllowList.read(allow)
        self._world = world
        self._resolve = resolve or self._resolve_by_system
        self._tls = tls

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        deadline: timedelta = DEADLINE,
        connect_within: timedelta | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        set_by_operator: bool = False,
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        Args:
            method: `GET`, `POST` and so on.
            url: Where to; `http` or `https`.
            body: Exactly the bytes to send.
            headers: Beyond `Host`, `Content-Length` and `Accept-Encoding`, which are set here.
            deadline: For everything together: name, connection, request, and the last byte of the answer.
            connect_within: For the name, and once more for the connection; by default all of `deadline`.
            max_body_bytes: How much of the answer is read.
            set_by_operator: Whether the URL comes from the settings, and so may name any address.

        Raises:
            EgressRefusedError: The URL cannot be read, or names what may not be reached; trying again is of no use.
            EgressUnreachableError: Nothing was sent: the name has no address, or nobody took the connection.
            EgressFailedError: The other side did not answer, or not in time.
        """
        target = read_target(url)
        within = deadline if connect_within is None else min(deadline, connect_within)
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                addresses = await self._addresses(target, within, set_by_operator=set_by_operator)
                return await self._send(method, target, addresses, body, dict(headers or {}), within, max_body_bytes)
        except TimeoutError:
            # `from None`, here and below: what the libraries say may hold the URL, whose path may be a secret.
            raise EgressFailedError(f"{target.origin} did not answer within {deadline.total_seconds():g} s") from None

    def close(self) -> None:
        """Let go of the threads; a later request starts new ones."""
        threads: ThreadPoolExecutor | None = self.__dict__.pop("_threads", None)
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, target: Target, within: timedelta, *, set_by_operator: bool) -> Sequence[str]:
        """Return the addresses of a target, none of which is forbidden."""
        trusted = set_by_operator or self._allow.has_host(target.host)
        try:
            found: Sequence[str] = [str(ipaddress.ip_address(target.host))]
        except ValueError:
            if not trusted and is_private_name(target.host):
                raise _refused(target) from None
            found = await self._look_up(target, within)
        if not trusted:
            # One forbidden address among many is enough: it would only be a matter of trying often.
            for address in found:
                self._check(target, ipaddress.ip_address(address.partition("%")[0]))
        return found

    def _check(self, target: Target, address: Address) -> None:
        if self._allow.has_address(address):
            return
        if not is_public(address):
            raise _refused(target)
        if not target.has_usual_port:
            raise EgressRefusedError(f"port {target.port} of {target.host} may not be reached: use 80, 443, or 1024 up")

    async def _look_up(self, target: Target, within: timedelta) -> Sequence[str]:
        try:
            async with asyncio.timeout(within.total_seconds()):
                found = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError, TimeoutError):
            found = ()
        if not found:
            raise EgressUnreachableError(
                f"the name {target.host} has no address: check it, and the DNS of this machine"
            )
        return found

    async def _resolve_by_system(self, host: str, port: int) -> Sequence[str]:
        found = await run_in_thread(self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def _send(  # noqa: PLR0917 - the parts of one request
        self,
        method: str,
        target: Target,
        addresses: Sequence[str],
        body: bytes,
        headers: dict[str, str],
        connect_within: timedelta,
        max_body_bytes: int,
    ) -> Answer:
        """Send a request to the first of the checked addresses that takes the connection."""
        import httpx2  # with the first request: most nodes never send one, and loading it is a twentieth of a start

        headers = {"User-Agent": "mainspring", "Accept": "*/*"} | headers
        headers |= {"Host": target.authority, "Accept-Encoding": "identity", "Connection": "close"}
        # An equal share of the time for each address, so that one that swallows packets leaves some for the next.
        share = connect_within.total_seconds() / len(addresses)
        for place, address in enumerate(addresses, start=1):
            request = httpx2.Request(
                method,
                f"{target.scheme}://{bracketed(address)}:{target.port}{target.path}",
                headers=headers,
                content=body,
                extensions={"sni_hostname": target.host, "timeout": {"connect": share}},
            )
            try:
                return await self._exchange(request, max_body_bytes)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if place == len(addresses):
                    raise _failed(target, error) from None
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise _failed(target, error) from None
        raise AssertionError("a name without addresses was refused before")

    async def _exchange(self, request: httpx2.Request, max_body_bytes: int) -> Answer:
        # The transport and not the client: no redirects, no cookies, no proxies and credentials from the environment,
        # and no line in the log with the whole URL. A new one each time: a connection that is kept would be found again
        # by its address, and serve another name without a look at that name's certificate.
        import httpx2

        async with httpx2.AsyncHTTPTransport(verify=self._tls_context) as transport:
            response = await transport.handle_async_request(request)
            received = bytearray()
            async with aclosing(response):
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > max_body_bytes:
                        break
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(received[:max_body_bytes]), len(received) > max_body_bytes)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return self._world.thread_pool(_RESOLVER_THREADS, name="mainspring-resolver")

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        import httpx2

        return self._tls or httpx2.create_ssl_context()


def _refused(target: Target) -> EgressRefusedError:
    # Which address it was stays untold: it would show a stranger how the inside is built.
    return EgressRefusedError(
        f"{target.origin} is not on the public internet, and so may not be reached from here; if it should be, the "
        "operator adds its host or its network to MAINSPRING_EGRESS_ALLOW"
    )


def _failed(target: Target, error: Exception) -> EgressFailedError:
    import httpx2

    match error:
        case httpx2.ConnectTimeout():
            return EgressUnreachableError(f"{target.origin} took no connection in time")
        case httpx2.ConnectError() if _is_about_the_certificate(error):
            return EgressUnreachableError(f"{target.origin} has no certificate that holds for this name")
        case httpx2.ConnectError():
            return EgressUnreachableError(f"{target.origin} took no connection: it is down, or a firewall is between")
        case httpx2.RemoteProtocolError() if "without sending" in str(error):  # h11's words for an end too soon
            reason = _BROKEN_OFF
        case httpx2.ProtocolError():
            reason = "answered with something that is not HTTP"
        case httpx2.InvalidURL():
            raise EgressRefusedError(f"the URL at {target.origin} cannot be read: percent-encode its path") from None
        case _:
            reason = _BROKEN_OFF
    return EgressFailedError(f"{target.origin} {reason}")


def _is_about_the_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
