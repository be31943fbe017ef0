"""What a run did with its time, as bars of a drawing: queued, attempts, and the pauses between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.domain.execution import Attempt, Execution

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


def timeline(run: Execution, attempts: Sequence[Attempt], now: datetime) -> Timeline:
    """Return the drawing of a run.

    Args:
        run: The run.
        attempts: All of its attempts, the first one first.
        now: The present instant, at which what goes on ends in the drawing.
    """
    begun = [attempt for attempt in attempts if attempt.started_at is not None]
    shown = begun[:1] + begun[1:][-(_MOST_ATTEMPTS - 1) :]
    parts = _parts(run, shown, now)
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


def _parts(run: Execution, attempts: Sequence[Attempt], now: datetime) -> list[_Part]:
    waits_until = attempts[0].started_at if attempts else run.completed_at or now
    parts = [_Part("Queued", "queued", run.created_at, max(run.created_at, waits_until or now))]
    before: datetime | None = None
    for attempt in attempts:
        start = attempt.started_at or run.created_at
        if before is not None and start > before:
            parts.append(_Part("Back-off", "retrying", before, start))
        end = attempt.completed_at or now
        outcome = "running" if attempt.outcome is None else attempt.outcome.value
        parts.append(_Part(f"Attempt {attempt.number}", outcome, start, max(start, end), _note(attempt)))
        before = attempt.completed_at
    if before is not None and not run.status.is_final and attempts[-1].completed_at is not None:
        parts.append(_Part("Back-off", "retrying", before, max(before, now)))
    return parts


def _note(attempt: Attempt) -> str:
    return str((attempt.error or {}).get("type") or "")[:40]
