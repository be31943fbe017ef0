"""What a node and the child process of one attempt say to each other: one JSON object a line, on pipes of their own.

Node to child: `start`, then `cancel`, and `saved` or `refused` for each checkpoint. Child to node: `log`, `progress`,
`beat` and `checkpoint` while it works, then one answer: `result`, `failed`, `skipped` or `crashed`.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from mainspring.domain.execution import Progress, Trigger
from mainspring.domain.failure import ErrorClass, Failure
from mainspring.domain.redaction import withheld_here
from mainspring.domain.result import JobResult
from mainspring.domain.write_door import MAX_LOG_CHARACTERS, MAX_VALUE_BYTES, clean_text, result_text, verbatim_json
from mainspring.errors import MainspringError
from mainspring.jobs.context import JobContext, LogLine
from mainspring.observability.sentry_children import facts_of_attempt
from mainspring.observability.tracing import current_traceparent

if TYPE_CHECKING:
    from mainspring.jobs.context import ContextSink

MAX_MESSAGE_BYTES: Final = 4_000_000
_FACTS: Final = tuple(field.name for field in fields(JobContext) if field.name not in {"sink", "config", "_cancelled"})


class Word(StrEnum):
    """What a message is about: the value of its key `word`."""

    START = "start"
    CANCEL = "cancel"
    SAVED = "saved"
    REFUSED = "refused"
    BEGUN = "begun"
    LOG = "log"
    PROGRESS = "progress"
    BEAT = "beat"
    CHECKPOINT = "checkpoint"
    RESULT = "result"
    FAILED = "failed"
    SKIPPED = "skipped"
    CRASHED = "crashed"


class RemoteFailureError(MainspringError):
    """A handler failed in another process, which has described the exception.

    Attributes:
        failure: The description, made where the exception was.
        event: What Sentry would have been told of it there; None: nobody asked.
    """

    code = "REMOTE_FAILURE"

    def __init__(self, failure: Failure, event: dict[str, Any] | None = None) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure
        self.event = event


def encode(word: Word, **content: object) -> bytes:
    """Return a message as a line."""
    return verbatim_json({"word": word, **content}).encode() + b"\n"


def decode(line: bytes) -> tuple[Word, dict[str, Any]]:
    """Return what a message is and all that it says.

    Raises:
        ValueError, KeyError, TypeError: The line is not a message.
    """
    message: dict[str, Any] = orjson.loads(line)
    return Word(message["word"]), message


def encode_start(app: str, import_path: list[str], context: JobContext[Any]) -> bytes:
    """Return the first message to a child: the application, where to import from, and the facts of the attempt.

    The span that is current is handed over, so that what the handler calls in the child belongs to the same trace; and
    so is what may not be shown, and what Sentry is told of the attempt.
    """
    facts = {name: getattr(context, name) for name in _FACTS} | {"config": dict(context.config)}
    return encode(
        Word.START,
        app=app,
        importPath=import_path,
        context=facts,
        traceparent=current_traceparent(),
        withheld=withheld_here(),
        sentry=facts_of_attempt(),
    )


def read_context(message: dict[str, Any], sink: ContextSink) -> JobContext[Any]:
    """Return the context that a start message describes."""
    facts: dict[str, Any] = message["context"]
    typed: dict[str, Any] = {
        "execution_id": UUID(facts["execution_id"]),
        "trigger": Trigger(facts["trigger"]),
        "scheduled_for": _instant(facts["scheduled_for"]),
        "deadline": _instant(facts["deadline"]),
        "reported": read_progress(facts["reported"]),
    }
    return JobContext(**facts | typed, sink=sink)


def read_progress(said: dict[str, Any]) -> Progress:
    """Return the progress that a message carries, without what only this process knows to be secret."""
    progress = Progress(**said)
    if progress.message is not None:
        progress.message = _capped_text(progress.message)
    return progress


def encode_log(line: LogLine) -> bytes:
    """Return a log line as a message; its fields are replaced by a note if they are larger than 256 kB."""
    level = clean_text(line.level, 20)
    message = encode(Word.LOG, level=level, message=line.message, fields=line.fields)
    if len(message) <= MAX_VALUE_BYTES:
        return message
    return encode(Word.LOG, level=level, message=line.message, fields={"truncated": True, "bytes": len(message)})


def read_log(message: dict[str, Any]) -> LogLine:
    """Return the log line that a message carries, without what only this process knows to be secret."""
    return LogLine(message["level"], _capped_text(message["message"]), message["fields"])


def encode_result(value: object, reported: Progress) -> bytes:
    """Return the answer of a handler that returned `value`."""
    if isinstance(value, JobResult):
        return encode(Word.RESULT, value=_capped_parts(value), isJobResult=True, reported=reported)
    return encode(Word.RESULT, value=_capped(value), isJobResult=False, reported=reported)


def read_result(message: dict[str, Any]) -> object:
    """Return what the handler returned, in terms of JSON or as a `JobResult`."""
    return JobResult.from_json(message["value"]) if message["isJobResult"] else message["value"]


def encode_failure(failure: Failure, reported: Progress, event: dict[str, Any] | None = None) -> bytes:
    """Return the answer of a handler that raised; an event that is larger than 256 kB is left out."""
    message = encode(Word.FAILED, failure=failure, reported=reported, event=event)
    if event is not None and len(message) > MAX_VALUE_BYTES:
        return encode_failure(failure, reported)
    return message


def read_failure(message: dict[str, Any]) -> Failure:
    """Return the failure that a message carries."""
    said: dict[str, Any] = message["failure"]
    typed: dict[str, Any] = {"error_class": ErrorClass(said["error_class"])}
    return Failure(**said | typed)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _capped(value: object) -> Any:  # noqa: ANN401 - JSON is whatever the handler returned
    text = result_text(value)
    return None if text is None else orjson.loads(text)


def _capped_parts(result: JobResult) -> dict[str, Any]:
    said = result.as_json()
    for name in ("summary", "messageCode"):
        if name in said:
            said[name] = _capped_text(said[name])
    if result.error is not None:
        said["error"] = {name: _capped_text(part) for name, part in result.error.items()}
    return {name: _capped(part) for name, part in said.items()}


def _capped_text(text: object) -> str:
    return clean_text(str(text), MAX_LOG_CHARACTERS)
