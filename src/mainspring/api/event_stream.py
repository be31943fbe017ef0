"""Server-Sent Events on the wire (HTML Living Standard §9.2): how one is written, and an answer made of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.types import Message, Send

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT: Final = b": still here\n\n"
"""A comment, which clients skip: it keeps proxies from closing a quiet stream, and finds out who has gone away."""
SLOWEST_READER: Final = timedelta(seconds=30)
"""A client that has not read on after this time is cut off; it goes on later from the last event that it has."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        name: What kind it is.
        data: What it tells.
        id: What `Last-Event-ID` says when the client comes back; None: this one is no place to go on from.
    """

    name: str
    data: Mapping[str, Any]
    id: str | None = None

    def encode(self) -> bytes:
        r"""Return its bytes.

        Example:
            >>> Event("end", {"status": "failed"}, "7-1").encode()
            b'event: end\nid: 7-1\ndata: {"status":"failed"}\n\n'
        """
        place = b"" if self.id is None else b"id: %b\n" % self.id.encode()
        return b"event: %b\n%bdata: %b\n\n" % (self.name.encode(), place, orjson.dumps(self.data))


def reconnect_after(pause: timedelta) -> bytes:
    """Return what tells a client how long to wait before it comes back once the stream has ended."""
    return b"retry: %d\n\n" % (pause // timedelta(milliseconds=1))


class EventStreamResponse(StreamingResponse):
    """An answer that goes on.

    The next piece is asked for only when the client has taken the last one, so that nothing piles up for a slow one.

    Args:
        pieces: Encoded events and comments.
    """

    media_type = MEDIA_TYPE

    def __init__(self, pieces: AsyncGenerator[bytes]) -> None:
        self._pieces = pieces
        super().__init__(pieces, headers={"X-Accel-Buffering": "no"})  # nginx would hold events back

    async def stream_response(self, send: Send) -> None:
        """Send the pieces one by one.

        Raises:
            ClientDisconnect: The client does not read on.
        """

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SLOWEST_READER.total_seconds()):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        async with aclosing(self._pieces):  # it lets go of what it holds now, not when it is collected
            await super().stream_response(send_in_time)
