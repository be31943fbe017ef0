"""The shape of a log line, as JSON for machines and as text for people: pure, and always exactly one record.

The two lines of a no-op job are the dearest part of it, so these are f-strings and not the standard library's
formatters (design 19). Whatever a name or message holds, NUL and lone surrogates included, a line stays a line.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from mainspring.domain.failure import head_and_tail
from mainspring.domain.redaction import redact, redact_text
from mainspring.domain.write_door import MAX_LOG_CHARACTERS, clean_text, to_jsonable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mainspring.domain.failure import Failure
    from mainspring.observability.run_identity import RunIdentity

LogFormat = Literal["console", "json"]

_json_string = json.encoder.encode_basestring_ascii  # ASCII: no code page of a terminal or pipe can refuse it

_JSON_END: Final = "}\n"
_MILLISECONDS: Final = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))

_PLAIN: Final = "\033[0m"
_DIM: Final = "\033[2m"
_BOLD: Final = "\033[1m"
_GREEN: Final = "\033[32m"
_YELLOW: Final = "\033[33m"
_RED: Final = "\033[31m"
_COLOURS: Final = {"info": _GREEN, "warning": _YELLOW, "error": _RED, "critical": _RED}


class LogEntry(NamedTuple):
    """What one log line says.

    Attributes:
        at: When it happened, in UTC.
        level: `debug`, `info`, `warning`, `error` or `critical`.
        message: What happened.
        run: The run it belongs to.
        trace_id: The trace it belongs to, 32 hexadecimal digits.
        duration: Seconds that the run took.
        failure: What went wrong.
        fields: Anything else that belongs to it.
    """

    at: datetime
    level: str
    message: str
    run: RunIdentity | None = None
    trace_id: str | None = None
    duration: float | None = None
    failure: Failure | None = None
    fields: Mapping[str, object] | None = None


def json_line(entry: LogEntry) -> str:
    """Return the entry as one JSON object on one line, in ASCII."""
    at, level, message, run, trace_id, duration, failure, fields = entry
    line = _json_begin(at, level, message)
    if run is not None:
        line += _json_run(run)
    line += _json_end(trace_id, duration)
    if failure is not None:
        error = failure.as_json() | {"trace": head_and_tail(failure.trace, MAX_LOG_CHARACTERS)}
        line += f',"error":{json.dumps(redact(to_jsonable(error)))}'
    if fields:
        shown = redact(to_jsonable(dict(fields)))
        line += "".join(f",{_quoted(key)}:{json.dumps(value)}" for key, value in shown.items())
    return line + _JSON_END


def json_run_line(at: datetime, message: str, run: RunIdentity, trace_id: str | None, duration: float | None) -> str:
    """Return what `json_line` does of an entry that is nothing but the beginning or the good end of a run."""
    return _json_begin(at, "info", message) + _json_run(run) + _json_end(trace_id, duration) + _JSON_END


def json_start_lines(at: datetime, runs: Iterable[RunIdentity]) -> list[str]:
    """Return the lines "Job started" of runs that begin together."""
    begin = _json_begin(at, "info", "Job started")
    return [
        begin + _json_run(run) + (_json_end(run.incoming_trace_id, None) if run.traceparent else "") + _JSON_END
        for run in runs
    ]


def _json_begin(at: datetime, level: str, message: str) -> str:
    return _json_begin_at(int(at.timestamp()), at.microsecond // 1000, level, message)


@lru_cache(maxsize=64)  # many runs of a batch end in the same millisecond
def _json_begin_at(unix: int, millisecond: int, level: str, message: str) -> str:
    timestamp = _second(unix) + _MILLISECONDS[millisecond]
    return f'{{"timestamp":"{timestamp}","level":"{level}","message":{_quoted(message)}'


def _json_run(run: RunIdentity) -> str:
    if run.as_json is None:
        line = _origin(run.job, run.node, run.trigger)
        if run.execution is not None:
            line += f',"execution":{_json_string(run.execution)}'
        if run.attempt is not None:
            line += f',"attempt":{run.attempt}'
        run.as_json = line if run.service is None else f'{line},"service":{_quoted(run.service)}'
    return run.as_json


def _json_end(trace_id: str | None, duration: float | None) -> str:
    took = "" if duration is None else f',"durationMs":{duration * 1000:.3f}'
    return took if trace_id is None else f'{took},"traceId":"{trace_id}"'


def console_line(entry: LogEntry, *, colour: bool) -> str:
    """Return the entry as a line for people; below a failure stands its traceback, indented."""

    def shade(code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if colour and code else text

    at, level, message, run, trace_id, duration, failure, fields = entry
    parts = [shade(_DIM, instant(at)), shade(_COLOURS.get(level, ""), f"{level.upper():7}"), _shown(message)]
    if run is not None:
        parts.append(shade(_BOLD, printable(run.job)))
    if duration is not None:
        parts.append(_human_duration(duration))
    if failure is not None:
        parts.append(shade(_RED, _shown(f"{failure.type}: {failure.message}")))
    details = _run_details(run) | {"trace": trace_id} | dict(fields or {})
    told = " ".join(f"{key}={value}" for key, value in details.items() if value is not None)
    if told:
        parts.append(shade(_DIM, _shown(told)))
    trace = redact_text(failure.trace).splitlines() if failure is not None else []
    return "  ".join(parts) + "\n" + "".join(f"    {printable(line)}\n" for line in trace)


def instant(at: datetime) -> str:
    """Return an instant in UTC as ISO 8601 with milliseconds and `Z`.

    Example:
        >>> instant(datetime(2026, 3, 29, 1, 0, 0, 7_999, tzinfo=UTC))
        '2026-03-29T01:00:00.007Z'
    """
    return _second(int(at.timestamp())) + _MILLISECONDS[at.microsecond // 1000]


def printable(text: str) -> str:
    r"""Return `text` with all that could end the line or move a terminal's cursor as backslash escapes.

    Example:
        >>> printable("red\x1b[31m\nnext")
        'red\\x1b[31m\\nnext'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _shown(text: str) -> str:
    return printable(redact_text(text))


@lru_cache(maxsize=8)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    """Return a text that comes again and again (a name, a message) as a JSON string that every parser takes."""
    return _json_string(clean_text(text, MAX_LOG_CHARACTERS))


@lru_cache(maxsize=1024)
def _origin(job: str, node: str | None, trigger: str | None) -> str:
    """Return what all runs of a job on a node have in common."""
    names = {"job": job, "node": node, "trigger": trigger}
    return "".join(f',"{key}":{_quoted(name)}' for key, name in names.items() if name is not None)


def _run_details(run: RunIdentity | None) -> dict[str, object]:
    if run is None:
        return {}
    return {
        "execution": run.execution,
        "attempt": run.attempt,
        "service": run.service,
        "node": run.node,
        "trigger": run.trigger,
    }


def _human_duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
