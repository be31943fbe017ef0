"""The node's end of the pipes on which a child process speaks: lines, and what a job prints."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from mainspring.domain.write_door import MAX_LOG_CHARACTERS, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD_LINES: Final = 1_000
_HEAD_BYTES: Final = 256_000
_TAIL_LINES: Final = 50
_TAIL_LINE_CHARACTERS: Final = 1_000


class LineReader(asyncio.Protocol):
    """Reads a pipe line by line.

    Args:
        take: What to do with a line, given without its end; it must not raise.
        limit: The longest line in bytes; a longer one is taken in pieces.

    Attributes:
        closed: Done when the pipe has ended.
    """

    def __init__(self, take: Callable[[bytes], None], *, limit: int) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._take = take
        self._limit = limit
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Take the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        while len(self._rest) > self._limit:
            self._take(self._rest[: self._limit])
            self._rest = self._rest[self._limit :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        """Take the last line, which may have no end."""
        if self._rest:
            self._take(self._rest)
        self.closed.set_result(None)


class PrintedText:
    """What a job prints: its first 1,000 lines (256 kB) as they come, then the last 50 and how many were cut.

    Args:
        keep: Where lines go.
    """

    def __init__(self, keep: Callable[[str], None]) -> None:
        self._keep = keep
        self._lines_left = _HEAD_LINES
        self._bytes_left = _HEAD_BYTES
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._beyond = 0

    def take(self, line: bytes) -> None:
        """Keep a line, or count it once there are too many."""
        if self._lines_left <= 0 or self._bytes_left <= 0:
            self._beyond += 1
            self._tail.append(line)
            return
        self._lines_left -= 1
        self._bytes_left -= len(line)
        self._keep_text(line, MAX_LOG_CHARACTERS)

    def end(self) -> None:
        """Say how many lines were cut, and keep the last ones."""
        if cut := self._beyond - len(self._tail):
            self._keep(f"… {cut:,} lines cut: the job printed more than its history keeps …")
        for line in self._tail:
            self._keep_text(line, _TAIL_LINE_CHARACTERS)
        self._tail.clear()
        self._beyond = 0

    def _keep_text(self, line: bytes, limit: int) -> None:
        self._keep(clean_text(line.decode("utf-8", "replace"), limit))
