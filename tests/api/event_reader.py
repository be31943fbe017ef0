"""A client of an event stream, straight on the ASGI application: it takes one piece at a time, and only when asked."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, MutableMapping

    from tests.api.conftest import Door


@dataclass(frozen=True, slots=True)
class Heard:
    """One event, or a comment or a hint, which have no name."""

    name: str | None
    id: str | None
    data: Any
    comment: str | None = None
    retry: int | None = None


class EventReader:
    """Reads one stream."""

    def __init__(self, door: Door, path: str, headers: dict[str, str]) -> None:
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=1)
        self._gone = asyncio.Event()
        self._asked = False
        self._start: dict[str, Any] = {}
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "root_path": "", "client": ("127.0.0.1", 1), "server": ("localhost", 80),
            "headers": [(b"host", b"localhost")] + [(name.lower().encode(), text.encode()) for name, text in
                                                    headers.items()],
        }  # fmt: skip
        self.answer = door.app.world.spawn(door.api(scope, self._receive, self._send), name="answer")

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self._pieces.put(dict(message))

    async def start(self) -> None:
        """Read the head of the answer."""
        self._start = await self._piece()

    async def _piece(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await self._pieces.get()

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self._start["status"]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {name.decode(): text.decode() for name, text in self._start["headers"]}

    async def body(self) -> bytes:
        """Return the rest of an answer that ends by itself."""
        body, more = b"", True
        while more:
            piece = await self._piece()
            body, more = body + piece.get("body", b""), piece.get("more_body", False)
        return body

    async def hear(self) -> Heard | None:
        """Return the next piece; None: the stream has ended."""
        piece = await self._piece()
        return _parsed(piece["body"].decode()) if piece.get("more_body") else None

    async def event(self) -> Heard:
        """Return the next event, and leave out hints and comments."""
        while True:
            heard = await self.hear()
            assert heard is not None, "the stream has ended"
            if heard.name is not None:
                return heard

    async def rest(self) -> list[Heard]:
        """Return all events to the end of the stream."""
        found: list[Heard] = []
        while (heard := await self.hear()) is not None:
            if heard.name is not None:
                found.append(heard)
        return found

    async def leave(self) -> None:
        """Hang up."""
        self._gone.set()
        while not self.answer.done():
            if not self._pieces.empty():
                self._pieces.get_nowait()
            await asyncio.wait({self.answer}, timeout=0.01)


def _parsed(text: str) -> Heard:
    assert text.endswith("\n\n"), text
    if text.startswith(":"):
        return Heard(None, None, None, comment=text.strip())
    fields = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    if "retry" in fields:
        return Heard(None, None, None, retry=int(fields["retry"]))
    return Heard(fields["event"], fields.get("id"), json.loads(fields["data"]))


@asynccontextmanager
async def following(
    door: Door, job_id: str, token: str, *, last_event_id: str | None = None
) -> AsyncGenerator[EventReader]:
    """Follow a job for as long as the block lasts."""
    headers = {"Authorization": f"Bearer {token}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    reader = EventReader(door, f"/v1/jobs/{job_id}/events", headers)
    try:
        await reader.start()
        yield reader
    finally:
        await reader.leave()
