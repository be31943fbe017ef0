"""What a program writes: line by line to the log of its run, and the two ends of it in the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.domain.write_door import clean_text
from mainspring.runtime.child_output import LineReader, PrintedText

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.runtime.program import Stream

_HEAD_BYTES: Final = 16_000
_TAIL_BYTES: Final = 48_000
_LINE_BYTES: Final = 8_000
_MESSAGE_CHARACTERS: Final = 500


class ProgramOutput:
    """Takes in all that a program writes, and keeps a bounded part of it.

    Args:
        log: Keeps a line, by stream: the first 1,000 (256 kB) as they come, then the last 50.
    """

    def __init__(self, log: Callable[[Stream, str], None]) -> None:
        self._log = log
        self._head = bytearray()
        self._tail = bytearray()
        self._beyond = 0
        self._last_lines: dict[Stream, str] = {}
        self._printed: dict[Stream, PrintedText] = {
            "stdout": self._printer("stdout"),
            "stderr": self._printer("stderr"),
        }
        self._lines: dict[Stream, LineReader] = {
            stream: LineReader(printed.take, limit=_LINE_BYTES) for stream, printed in self._printed.items()
        }

    def take(self, stream: Stream, data: bytes) -> None:
        """Take in what was written next."""
        self._lines[stream].data_received(data)
        room = _HEAD_BYTES - len(self._head)
        self._head += data[:room]
        self._beyond += len(data[room:])
        self._tail += data[room:]
        del self._tail[:-_TAIL_BYTES]

    def end(self) -> None:
        """Keep the last lines, which may have no end."""
        for stream, lines in self._lines.items():
            lines.connection_lost(None)
            self._printed[stream].end()

    @property
    def bytes(self) -> int:
        """How much was written, on both streams."""
        return len(self._head) + self._beyond

    @property
    def text(self) -> str:
        """Head and tail of what was written, 64 kB of it, without secrets."""
        cut = self._beyond - len(self._tail)
        between = f"\n… {cut:,} bytes cut …\n".encode() if cut else b""
        text = bytes(self._head + between + self._tail).decode("utf-8", "replace")
        return clean_text(text, 2 * (_HEAD_BYTES + _TAIL_BYTES))

    @property
    def last_line(self) -> str | None:
        """The last line that was not empty, of standard error rather than of standard output."""
        line = self._last_lines.get("stderr") or self._last_lines.get("stdout")
        return None if line is None else clean_text(line, _MESSAGE_CHARACTERS)

    def _printer(self, stream: Stream) -> PrintedText:
        def keep(line: str) -> None:
            if line.strip():
                self._last_lines[stream] = line.strip()
            self._log(stream, line)

        return PrintedText(keep)
