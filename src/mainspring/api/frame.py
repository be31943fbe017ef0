"""What stands around every request: its id, the headers of every answer, and the end of an unexpected error."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request

from mainspring.api.problems import unexpected_response
from mainspring.observability.tracing import current_trace_id, joined_trace

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mainspring.world import World

_logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class RequestFrame:
    """Gives each request an id, which a proxy in front may have chosen, and each answer the headers of ours.

    What a request starts joins the trace that its header `traceparent` names, unless a tracer around has begun one.

    Args:
        app: What it stands around.
        world: Ids.
    """

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else str(self._world.new_id())
        started = False

        async def send_framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request.state.request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        traceparent = request.headers.get("traceparent") if current_trace_id() is None else None
        try:
            with joined_trace(traceparent):
                await self._app(scope, receive, send_framed)
        except ClientDisconnect:
            _logger.debug("request %s: the client went away", request.state.request_id)
        except Exception:
            _logger.exception("request %s: %s %s failed", request.state.request_id, request.method, scope["path"])
            if started:
                raise  # the answer is half sent: the server cuts the connection
            await unexpected_response(request)(scope, receive, send_framed)
