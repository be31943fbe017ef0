"""What a schedule would mean: how often it fires, how close together, and what else fires at the same instants."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mainspring.domain.schedule import Schedule

_WEEK: Final = timedelta(days=7)
_MOST_COUNTED: Final = 5_000
_MOMENT: Final = timedelta(microseconds=1)


def runs_per_week(schedule: Schedule, after: datetime) -> float:
    """Return how often a schedule fires in the week after an instant.

    Of one that fires more than 5,000 times in it, the first 5,000 tell how often it does on the whole.

    Example:
        >>> from datetime import UTC
        >>> from mainspring.domain.schedule import Cron
        >>> runs_per_week(Cron("0 9 * * MON-FRI"), datetime(2027, 1, 4, tzinfo=UTC))
        5
        >>> runs_per_week(Cron("* * * * * *"), datetime(2027, 1, 4, 9, 0, 0, 500_000, tzinfo=UTC))
        604800
    """
    instants = list(islice(_fires(schedule, after, after + _WEEK), _MOST_COUNTED))
    if len(instants) < _MOST_COUNTED:
        return len(instants)
    return round((_MOST_COUNTED - 1) * (_WEEK / (instants[-1] - instants[0])))


def shortest_gap(instants: Sequence[datetime]) -> timedelta | None:
    """Return the shortest time between two of some instants in order; None where there are fewer than two."""
    return min((later - earlier for earlier, later in pairwise(instants)), default=None)


def collisions(instants: Iterable[datetime], others: Mapping[str, Schedule]) -> dict[datetime, list[str]]:
    """Return the instants at which other schedules fire too, with their names.

    Example:
        >>> from datetime import UTC
        >>> from mainspring.domain.schedule import Cron
        >>> nine = datetime(2027, 1, 4, 9, tzinfo=UTC)
        >>> list(collisions([nine], {"hourly": Cron("0 * * * *"), "noon": Cron("0 12 * * *")}).values())
        [['hourly']]
    """
    found: dict[datetime, list[str]] = {}
    for instant in instants:
        names = [name for name, other in others.items() if _fires_at(other, instant)]
        if names:
            found[instant] = sorted(names)
    return found


def _fires_at(schedule: Schedule, instant: datetime) -> bool:
    return schedule.next_after(instant - _MOMENT) == instant


def _fires(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    instant = schedule.next_after(after)
    while instant is not None and instant <= until:
        yield instant
        instant = schedule.next_after(instant)
