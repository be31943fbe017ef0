"""The writer of log lines: pre-shaped, buffered, and never in the way of a job.

It exists because two lines through the standard library cost more than the rest of a no-op job (design 19). Lines wait
in memory and go out together: the start lines of a claimed batch by `flush`, before its handlers start, so that a job
that kills its process has left its start line; end lines at most `max_delay` later; failures at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

from mainspring.observability.log_format import (
    LogEntry,
    LogFormat,
    console_line,
    json_line,
    json_run_line,
    json_start_lines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.domain.failure import Failure
    from mainspring.observability.run_identity import RunIdentity

DEFAULT_MAX_DELAY: Final = 0.05


class LogWriter:
    """Writes log lines to a text stream, from any thread.

    A stream that refuses the lines (a closed pipe, a full disk) never fails a job: the lines are dropped, and standard
    error is told once.

    Args:
        stream: Where lines go; by default whatever `sys.stdout` is at the time.
        log_format: `json` or `console`; by default console where the stream is a terminal.
        max_delay: Seconds that an end line may wait, 0 for none. Whoever chooses more than 0 calls `flush` at the end.

    Example:
        >>> from datetime import UTC, datetime
        >>> from mainspring.observability.run_identity import RunIdentity
        >>> writer = LogWriter(log_format="json")
        >>> writer.job_started(RunIdentity("digest", attempt=1), datetime(2026, 1, 1, tzinfo=UTC))
        >>> writer.flush()
        {"timestamp":"2026-01-01T00:00:00.000Z","level":"info","message":"Job started","job":"digest","attempt":1}
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        log_format: LogFormat | None = None,
        max_delay: float = DEFAULT_MAX_DELAY,
    ) -> None:
        """Look at the stream, to choose a format and colours."""
        self._stream = stream
        self.choose_format(log_format)
        self._max_delay = max_delay
        self._waiting: deque[str] = deque()
        self._writing = threading.RLock()  # reentrant: a signal handler may log in the middle of a flush
        self._flushing_loop: asyncio.AbstractEventLoop | None = None
        self._told = False

    def choose_format(self, log_format: LogFormat | None) -> None:
        """Write `json` or `console` from now on; None chooses console where the stream is a terminal."""
        terminal = _is_terminal(self._stream or sys.stdout)
        self._json = log_format == "json" or (log_format is None and not terminal)
        self._colour = terminal and not os.environ.get("NO_COLOR")  # https://no-color.org

    def job_started(self, run: RunIdentity, at: datetime, trace_id: str | None = None) -> None:
        """Add the line "Job started"; it waits for `flush`. Without a span yet, it names the trace that comes in."""
        self._add_job_line(at, "Job started", run, trace_id or run.incoming_trace_id, None)

    def jobs_started(self, runs: Sequence[RunIdentity], at: datetime) -> None:
        """Write the lines "Job started" of a batch, at once."""
        if self._json:
            self._waiting.extend(json_start_lines(at, runs))
        else:
            for run in runs:
                self.job_started(run, at)
        self.flush()

    def job_succeeded(self, run: RunIdentity, at: datetime, duration: float, trace_id: str | None = None) -> None:
        """Add the line "Job succeeded", with the duration in seconds."""
        self._add_job_line(at, "Job succeeded", run, trace_id, duration)
        self._flush_soon()

    def job_skipped(
        self, run: RunIdentity, at: datetime, duration: float, reason: str, trace_id: str | None = None
    ) -> None:
        """Add the line "Job skipped", with the reason that the handler gave."""
        self._add(LogEntry(at, "info", "Job skipped", run, trace_id, duration, fields={"reason": reason}))
        self._flush_soon()

    def job_accepted(
        self, run: RunIdentity, at: datetime, duration: float, told: str, trace_id: str | None = None
    ) -> None:
        """Add the line "Job accepted": another program goes on with it."""
        self._add(LogEntry(at, "info", "Job accepted", run, trace_id, duration, fields={"told": told}))
        self._flush_soon()

    def job_failed(
        self, run: RunIdentity, at: datetime, duration: float, failure: Failure, trace_id: str | None = None
    ) -> None:
        """Write the line "Job failed", with the error, at once."""
        self._add(LogEntry(at, "error", "Job failed", run, trace_id, duration, failure))
        self.flush()

    def write(self, entry: LogEntry) -> None:
        """Write any other line, at once."""
        self._add(entry)
        self.flush()

    def flush(self) -> None:
        """Hand all lines that wait to the stream."""
        with self._writing:
            waiting = self._waiting
            if waiting:
                self._write_text("".join([waiting.popleft() for _ in range(len(waiting))]))

    def _add_job_line(
        self, at: datetime, message: str, run: RunIdentity, trace_id: str | None, duration: float | None
    ) -> None:
        if self._json:
            self._waiting.append(json_run_line(at, message, run, trace_id, duration))
        else:
            self._add(LogEntry(at, "info", message, run, trace_id, duration))

    def _add(self, entry: LogEntry) -> None:
        self._waiting.append(json_line(entry) if self._json else console_line(entry, colour=self._colour))

    def _flush_soon(self) -> None:
        if not self._max_delay:
            self.flush()
            return
        due_on = self._flushing_loop
        if due_on is not None and due_on.is_running():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a thread, or a program without an event loop: nobody would flush later
            self.flush()
            return
        if due_on is not loop:
            self._flushing_loop = loop
            loop.call_later(self._max_delay, self._flush_on_time)

    def _flush_on_time(self) -> None:
        self._flushing_loop = None
        self.flush()

    def _write_text(self, text: str) -> None:
        stream = self._stream or sys.stdout
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError as refused:
                stream.write(text.encode(refused.encoding, "backslashreplace").decode(refused.encoding))
            stream.flush()
        except Exception as trouble:  # noqa: BLE001 - a stream may be anything, and no job fails for its log lines
            self._tell(trouble)

    def _tell(self, trouble: Exception) -> None:
        if self._told:
            return
        self._told = True
        with contextlib.suppress(Exception):
            sys.stderr.write(
                f"mainspring: standard output takes no log lines ({type(trouble).__name__}: {trouble}); "
                "jobs go on, their lines are lost\n"
            )


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
