"""The product's own log records (`mainspring.*`): the standard library's loggers, on the road that job lines take."""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime
from typing import Final

from mainspring.domain.failure import failure_of
from mainspring.observability.log_format import LogEntry, LogFormat, console_line, json_line
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.run_identity import current_run

# What `extra=` may not overwrite: the attributes of every record, and the names that a line of a run already has.
_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OF_EVERY_LINE: Final = frozenset({"timestamp", "level", "message", "logger", "traceId", "error"})
_OF_A_RUN: Final = frozenset({"job", "execution", "attempt", "node", "trigger"})


@functools.cache
def process_log_writer() -> LogWriter:
    """Return the writer on standard output that serves what has none of its own: `Job.run` and the product's loggers.

    It delays nothing, because nobody promises to flush it.
    """
    return LogWriter(max_delay=0)


def configure_logging(log_format: LogFormat | None = None, level: int | str = logging.INFO) -> None:
    """Write what `mainspring` logs, and the lines of `Job.run`, to standard output in one format.

    Only the logger `mainspring` is touched; the root logger and handlers that others attached stay as they are.
    Called again, it replaces what it set before.

    Args:
        log_format: `json` or `console`; by default console where standard output is a terminal.
        level: The least severe level to write, for instance `logging.WARNING` or `"DEBUG"`. The lines of jobs are
            written whatever it is: a job that runs silently is a liability (the job harness document, §3).
    """
    process_log_writer().choose_format(log_format)
    logger = logging.getLogger("mainspring")
    for handler in list(logger.handlers):
        if isinstance(handler, LogWriterHandler):
            logger.removeHandler(handler)
    logger.addHandler(LogWriterHandler(process_log_writer()))
    logger.setLevel(level.upper() if isinstance(level, str) else level)
    logger.propagate = False  # else a host that configured the root logger would get every line twice


class LogWriterHandler(logging.Handler):
    """Sends log records through a `LogWriter`, at once.

    Args:
        writer: Where they go.
    """

    def __init__(self, writer: LogWriter) -> None:
        """Attach to the writer."""
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            self._writer.write(entry_of(record))
        except Exception:  # noqa: BLE001 - as every handler of the standard library: a bad record is reported, not raised
            self.handleError(record)


class LogFormatter(logging.Formatter):
    """Gives the records of any handler the product's shape: JSON or console text, with the run they belong to.

    Args:
        log_format: `json` or `console`.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.setFormatter(LogFormatter("json"))
    """

    def __init__(self, log_format: LogFormat) -> None:
        """Choose the shape."""
        super().__init__()
        self._json = log_format == "json"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without the newline at its end."""
        entry = entry_of(record)
        return (json_line(entry) if self._json else console_line(entry, colour=False)).rstrip("\n")


def entry_of(record: logging.LogRecord) -> LogEntry:
    """Return what a log record says, with the run and the trace that the caller is in."""
    from mainspring.observability.tracing import current_trace_id

    run = current_run.get()
    error = record.exc_info[1] if record.exc_info else None
    return LogEntry(
        at=datetime.fromtimestamp(record.created, UTC),
        level=record.levelname.lower(),
        message=record.getMessage(),
        run=run,
        trace_id=current_trace_id(),
        failure=failure_of(error) if error else None,
        fields={"logger": record.name} | _extra(record, _OF_A_RUN if run else frozenset()),
    )


def _extra(record: logging.LogRecord, taken: frozenset[str]) -> dict[str, object]:
    ours = _OF_EVERY_RECORD | _OF_EVERY_LINE | taken
    return {key: value for key, value in vars(record).items() if key not in ours}
