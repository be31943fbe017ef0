"""What a run did with its time, as bars of a drawing: its waits, attempts, pauses between them, and callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.notification import NotificationStatus
from mainspring.store.runs.run_wait_reasons import Waits
from mainspring.web.words_run import TIMELINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.domain.notification import Notification

WIDTH: Final = 860
ROW: Final = 24
_LEFT: Final = 100
_RIGHT: Final = 12
_LEAST: Final = 3.0
_ROOM_FOR_WORDS: Final = 200
_MOST_ATTEMPTS: Final = 20
_MARKS: Final = 5
_SHORT: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the time of a run.

    Attributes:
        label: What it was.
        state: By what state it is coloured.
        start: When it began.
        end: When it ended.
        x: Where it begins in the drawing.
        width: How long it is there.
        y: Its row.
        note: How it ended; empty: there is nothing to say.
    """

    label: str
    state: str
    start: datetime
    end: datetime
    x: float
    width: float
    y: int
    note: str

    @property
    def note_left(self) -> bool:
        """Whether the note has room on its left alone."""
        return self.x + self.width > WIDTH - _ROOM_FOR_WORDS

    @property
    def milliseconds(self) -> float:
        """How long it lasted."""
        return (self.end - self.start).total_seconds() * 1000


@dataclass(frozen=True, slots=True)
class Timeline:
    """The drawing.

    Attributes:
        bars: One below the other.
        marks: Where instants are written, and which.
        omitted: How many attempts in the middle are left out.
    """

    bars: list[Bar]
    marks: list[tuple[float, datetime]]
    omitted: int

    @property
    def precision(self) -> int:
        """How many characters of `09:30:00.000000` tell the instants apart."""
        span = self.marks[-1][1] - self.marks[0][1]
        return len("09:30:00") if span > _SHORT else len("09:30:00.000")

    @property
    def height(self) -> int:
        """How high it is."""
        return len(self.bars) * ROW + 26


@dataclass(frozen=True, slots=True)
class _Part:
    label: str
    state: str
    start: datetime
    end: datetime
    note: str = ""


def timeline(
    run: Execution,
    attempts: Sequence[Attempt],
    now: datetime,
    waits: Waits | None = None,
    callbacks: Sequence[Notification] = (),
) -> Timeline:
    """Return the drawing of a run.

    Args:
        run: The run.
        attempts: All of its attempts, the first one first.
        now: The present instant, at which what goes on ends in the drawing.
        waits: For what it has waited.
        callbacks: Whom it has told of its end, or tries to.
    """
    begun = [attempt for attempt in attempts if attempt.started_at is not None]
    shown = begun[:1] + begun[1:][-(_MOST_ATTEMPTS - 1) :]
    parts = _parts(run, shown, now, waits or Waits())
    parts += [_callback(told, now) for told in callbacks]
    start = min(part.start for part in parts)
    end = max(*(part.end for part in parts), start + timedelta(milliseconds=1))
    scale = (WIDTH - _LEFT - _RIGHT) / (end - start).total_seconds()

    def place(instant: datetime) -> float:
        return round(_LEFT + (instant - start).total_seconds() * scale, 1)

    bars = [
        Bar(part.label, part.state, part.start, part.end, place(part.start),
            max(_LEAST, round(place(part.end) - place(part.start), 1)), 4 + ROW * row, part.note)
        for row, part in enumerate(parts)
    ]  # fmt: skip
    marks = [(place(at), at) for step in range(_MARKS) for at in (start + (end - start) * step / (_MARKS - 1),)]
    return Timeline(bars, marks, len(begun) - len(shown))


def _parts(run: Execution, attempts: Sequence[Attempt], now: datetime, waits: Waits) -> list[_Part]:
    begins = (attempts[0].started_at if attempts else run.completed_at) or now
    parts = _before(run, begins, waits)
    before: datetime | None = None
    for attempt in attempts:
        start = attempt.started_at or run.created_at
        if before is not None and start > before:
            parts.append(_Part(TIMELINE["back_off"], "retrying", before, start))
        end = max(start, attempt.completed_at or now)
        outcome = "running" if attempt.outcome is None else attempt.outcome.value
        label = TIMELINE["attempt"].format(number=attempt.number)
        parts.append(_Part(label, outcome, start, end, _note(attempt)))
        parts += [
            _Part(TIMELINE["lock"], "late", max(start, lock.start), lock.end)
            for lock in waits.locks
            if start < lock.end <= end
        ]
        before = attempt.completed_at
    if before is not None and not run.status.is_final and attempts[-1].completed_at is not None:
        parts.append(_Part(TIMELINE["back_off"], "retrying", before, max(before, now)))
    return parts


def _before(run: Execution, begins: datetime, waits: Waits) -> list[_Part]:
    """Return the waits before the first attempt, one after the other: each ends where the next one begins."""
    limit_note = "" if waits.limit is None else TIMELINE["at_once"].format(limit=waits.limit)
    steps = (
        ("delayed", "scheduled", run.scheduled_at, ""),
        ("parents", "scheduled", waits.parents_until, ""),
        ("limit", "late", waits.limit_until, limit_note),
        ("queued", "queued", begins, ""),
    )
    parts, start = list[_Part](), min(run.created_at, begins)
    for label, state, until, note in steps:
        end = min(until or start, begins)
        if end > start or label == "queued":
            parts.append(_Part(TIMELINE[label], state, start, max(start, end), note))
            start = max(start, end)
    return parts


def _callback(told: Notification, now: datetime) -> _Part:
    if told.delivered_at is not None:
        state, end = "succeeded", told.delivered_at
    elif told.status is NotificationStatus.PENDING:
        state, end = "running", now
    else:
        state, end = "failed", told.available_at
    tries = TIMELINE["tries"].format(count=told.attempts) if told.attempts > 1 else ""
    return _Part(TIMELINE["callback"], state, told.created_at, max(told.created_at, end), tries)


def _note(attempt: Attempt) -> str:
    return str((attempt.error or {}).get("type") or "")[:40]
