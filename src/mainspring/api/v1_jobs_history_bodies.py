"""The bodies of `/v1/jobs/{id}/attempts` and `/logs`: what was tried, and what was said."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.domain.execution import Attempt, Outcome
from mainspring.domain.instants import instant_text

Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")
_SHOWN_OF_ERROR: Final = ("type", "code", "message")


class AttemptError(BaseModel):
    """What went wrong."""

    type: str
    code: str
    message: str


class AttemptView(BaseModel):
    """One try at a job."""

    model_config = ConfigDict(alias_generator=to_camel)

    number: int = Field(description="From 1; a try that was interrupted or lost counts too.")
    fence: int = Field(description="Higher at every start: of two tries only the higher one may write.")
    node: UUID | None = Field(description="The node that made it; it has another id after each start of its own.")
    outcome: Outcome | None = Field(description="null while it goes on.")
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: int | None
    error: AttemptError | None


class AttemptList(BaseModel):
    """Every try at a job, the first one first."""

    attempts: list[AttemptView]


class LogLineView(BaseModel):
    """One line that a job has written."""

    id: int = Field(description="Higher than that of the line before: the `cursor` that leads on from here.")
    at: datetime
    attempt: int
    level: str
    message: str
    fields: dict[str, Any]


class LogPage(BaseModel):
    """Some lines of a job in their order."""

    model_config = ConfigDict(alias_generator=to_camel)

    logs: list[LogLineView]
    page_size: int


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as `AttemptView` describes it, without the trace of its error."""
    error = attempt.error
    return {
        "number": attempt.number,
        "fence": attempt.fence,
        "node": None if attempt.node_id is None else str(attempt.node_id),
        "outcome": attempt.outcome,
        "startedAt": instant_text(attempt.started_at),
        "completedAt": instant_text(attempt.completed_at),
        "durationMs": _duration_ms(attempt),
        "error": None if error is None else {name: error.get(name, "") for name in _SHOWN_OF_ERROR},
    }


def log_line_json(line: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the store
    """Return a log line as `LogLineView` describes it."""
    return {
        "id": line.id,
        "at": instant_text(line.at),
        "attempt": line.attempt,
        "level": line.level,
        "message": line.message,
        "fields": orjson.loads(line.fields) if line.fields else {},
    }


def levels_from(lowest: Level) -> tuple[Level, ...]:
    """Return a level and those above it.

    Example:
        >>> levels_from("warning")
        ('warning', 'error')
    """
    return _LEVELS[_LEVELS.index(lowest) :]


def _duration_ms(attempt: Attempt) -> int | None:
    if attempt.started_at is None or attempt.completed_at is None:
        return None
    return (attempt.completed_at - attempt.started_at) // timedelta(milliseconds=1)
