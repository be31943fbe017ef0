"""A service in an ASGI server: mounted in FastAPI or Starlette, or on its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from mainspring.remote import protocol
from mainspring.remote.endpoint import CallTooSlowError, Head, Reply, refusal, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta

    from mainspring.remote.endpoint import ServiceEndpoint
    from mainspring.world import World

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

_BODY_SECONDS: Final = 10.0


class ServiceAsgi:
    """An ASGI 3 application (https://asgi.readthedocs.io).

    Served on its own, its lifespan registers the jobs and drains at the end. A framework does not pass its lifespan on
    to what is mounted in it: there, `RemoteService.lifespan` does the same.

    Args:
        endpoint: What answers.
        lifespan: Lasts as long as the server serves.
        answer_within: How long a call may wait for the end of the work before it is answered 202.
        world: Tasks.
    """

    def __init__(
        self,
        endpoint: ServiceEndpoint,
        lifespan: Callable[[], AbstractAsyncContextManager[object]],
        *,
        answer_within: timedelta,
        world: World,
    ) -> None:
        self._endpoint = endpoint
        self._lifespan = lifespan
        self._answer_seconds = answer_within.total_seconds()
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await _reply(send, await self._answer(scope, receive), with_body=scope["method"] != "HEAD")
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        # A framework that mounts it leaves the whole path, and says how much of it is its own.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        head = Head(scope["method"], path, headers)
        if reply := self._endpoint.answer_to_head(head):
            return reply
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await _read(receive)
        except TimeoutError:
            return refusal(CallTooSlowError(f"the body took longer than {_BODY_SECONDS:g} s"))
        if body is None:
            return too_large()
        hung_up = self._world.spawn(_disconnect(receive), name="end of a call's connection")
        try:
            return await self._endpoint.answer_to_call(head, body, within=self._answer_seconds, hung_up=hung_up)
        finally:
            hung_up.cancel()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})


async def _read(receive: Receive) -> bytes | None:
    """Return a body, or None where it is longer than any call."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > protocol.MAX_MESSAGE_BYTES:
            return None
        if not message.get("more_body", False):  # its end, or the client's
            return bytes(body)


async def _disconnect(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reply(send: Send, reply: Reply, *, with_body: bool) -> None:
    headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body)), **reply.headers}
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(reply.status), "headers": raw})
    await send({"type": "http.response.body", "body": reply.body if with_body else b""})
