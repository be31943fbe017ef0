"""By which names this server is asked for: a page of somebody else's must not reach it by a name of its own (S20)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from mainspring.api.problems import problem_response
from mainspring.security.secret_key import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MISDIRECTED: Final = 421
_POLICY_VIOLATION: Final = 1008
_HTTPS_ONLY: Final = "max-age=31536000"


class Hosts:
    """The names by which a server may be asked for.

    A page whose name is made to lead to this machine after it was loaded asks by that name, and such a name has a dot.
    Addresses, and names of this machine and its network, which have none, are therefore taken; of the others the bound
    one and that of `MAINSPRING_PUBLIC_URL`. Beyond this machine nothing is open without a credential, which such a page
    has not: there, without `MAINSPRING_PUBLIC_URL`, every name is taken.

    Args:
        bound: The address that is served.
        public_url: Where people find it, `MAINSPRING_PUBLIC_URL`.

    Example:
        >>> hosts = Hosts("127.0.0.1", "https://jobs.example")
        >>> [hosts.accepts(host) for host in ("localhost:7007", "[::1]:7007", "jobs.example", "evil.example")]
        [True, True, True, False]
    """

    def __init__(self, bound: str, public_url: str | None) -> None:
        public = urlsplit(public_url or "")
        self._public_name = public.hostname
        self._is_https = public.scheme == "https"
        self._bound = bound.lower()
        self._takes_every_name = self._public_name is None and not is_loopback(bound)

    def accepts(self, host: str) -> bool:
        """Whether to answer a request with this header `Host`."""
        name = _name_of(host)
        if not name:
            return False
        is_near = "." not in name or name.endswith(".localhost") or _is_address(name)
        return is_near or name in {self._bound, self._public_name} or self._takes_every_name

    def are_https(self, host: str) -> bool:
        """Whether the name of this header `Host` is one that is reached by HTTPS."""
        return self._is_https and _name_of(host) == self._public_name


class HostCheck:
    """Refuses requests and WebSockets for other names, and tells browsers to come back by HTTPS where there is one.

    Args:
        app: What it stands around.
        hosts: The names.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        host = Headers(scope=scope).get("host", "") if scope["type"] in {"http", "websocket"} else ""
        if not host:  # no browser leaves it out
            await self._app(scope, receive, send)
        elif not self._hosts.accepts(host):
            await self._refuse(scope, receive, send)
        elif self._hosts.are_https(host):
            await self._app(scope, receive, _insisting_on_https(send))
        else:
            await self._app(scope, receive, send)

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "another host"})
            return
        refusal = problem_response(
            Request(scope),
            _MISDIRECTED,
            "HOST_UNKNOWN",
            "this server is not known by the name in the header `Host`: ask for it by `localhost` or by its address, "
            "or let its operator set MAINSPRING_PUBLIC_URL to the address that people use",
        )
        await refusal(scope, receive, send)


def _insisting_on_https(send: Send) -> Send:
    async def insist(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Strict-Transport-Security"] = _HTTPS_ONLY
        await send(message)

    return insist


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
