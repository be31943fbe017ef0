"""What schedules will do in the next hours: every planned run, where runs meet, and when most are under way."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from mainspring.domain.schedule import OnStartup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from mainspring.domain.schedule import Schedule

MOST_INSTANTS: Final = 40
"""A schedule that fires more often in a window is told as a band: single marks would run into each other."""
_UNKNOWN_LENGTH: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job that a schedule may start.

    Attributes:
        name: The job.
        queue: Where its runs wait.
        schedule: What is in force.
        usual: How long a run of it takes, as far as is known.
    """

    name: str
    queue: str
    schedule: Schedule
    usual: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """The planned runs of one job in a window.

    Attributes:
        job: The job.
        instants: When they start, in order; of a band the first ones.
        is_band: Whether it fires too often for each run to be told.
    """

    job: PlannedJob
    instants: Sequence[datetime]
    is_band: bool = False


@dataclass(frozen=True, slots=True)
class Meeting:
    """Several jobs at one instant.

    Attributes:
        at: When.
        names: Which jobs, by name.
    """

    at: datetime
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is planned in a window.

    Attributes:
        start: Where the window begins.
        until: Where it ends.
        lanes: One for each job with a run in it, the one that runs first on top.
        collisions: Instants at which jobs of one queue start together, in order; bands are left out.
        busiest: The first instant at which most runs are under way, if ever two are; bands are left out.
    """

    start: datetime
    until: datetime
    lanes: Sequence[Lane]
    collisions: Sequence[Meeting]
    busiest: Meeting | None

    @property
    def runs(self) -> int:
        """How many single runs are told, those of bands left out."""
        return sum(len(lane.instants) for lane in self.lanes if not lane.is_band)


def forecast(jobs: Iterable[PlannedJob], start: datetime, window: timedelta) -> Forecast:
    """Return what schedules plan in a window.

    Args:
        jobs: The jobs whose schedules may fire; those that run at start-up alone plan nothing.
        start: Where the window begins; what fires at this very instant has fired.
        window: How long it is.

    Example:
        >>> from datetime import UTC, datetime
        >>> from mainspring.domain.schedule import Cron
        >>> jobs = [PlannedJob(name, "default", Cron("0 * * * *")) for name in ("digest", "sync")]
        >>> planned = forecast(jobs, datetime(2027, 1, 4, 8, 30, tzinfo=UTC), timedelta(hours=2))
        >>> planned.runs, [(meeting.at.hour, meeting.names) for meeting in planned.collisions]
        (4, [(9, ['digest', 'sync']), (10, ['digest', 'sync'])])
    """
    until = start + window
    lanes = [lane for job in jobs if (lane := _lane(job, start, until)) is not None]
    lanes.sort(key=lambda lane: (lane.instants[0], lane.job.name))
    single = [lane for lane in lanes if not lane.is_band]
    return Forecast(start, until, lanes, _collisions(single), _busiest(single))


def _lane(job: PlannedJob, start: datetime, until: datetime) -> Lane | None:
    if isinstance(job.schedule, OnStartup):
        return None
    instants = list(islice(job.schedule.fires(start, until), MOST_INSTANTS + 1))
    if not instants:
        return None
    return Lane(job, instants[:MOST_INSTANTS], is_band=len(instants) > MOST_INSTANTS)


def _collisions(lanes: Iterable[Lane]) -> list[Meeting]:
    starting: dict[tuple[datetime, str], list[str]] = defaultdict(list)
    for lane in lanes:
        for instant in lane.instants:
            starting[instant, lane.job.queue].append(lane.job.name)
    return [Meeting(at, sorted(names)) for (at, _queue), names in sorted(starting.items()) if len(names) > 1]


def _busiest(lanes: Iterable[Lane]) -> Meeting | None:
    under_way: list[str] = []
    busiest: Meeting | None = None
    for at, begins, name in sorted(_edges(lanes)):
        if not begins:
            under_way.remove(name)
            continue
        under_way.append(name)
        if len(under_way) > (1 if busiest is None else len(busiest.names)):
            busiest = Meeting(at, sorted(under_way))
    return busiest


def _edges(lanes: Iterable[Lane]) -> Iterator[tuple[datetime, bool, str]]:
    """Yield each beginning and each end; at one instant ends sort before beginnings."""
    for lane in lanes:
        length = max(lane.job.usual or _UNKNOWN_LENGTH, _UNKNOWN_LENGTH)
        for instant in lane.instants:
            yield instant, True, lane.job.name
            yield instant + length, False, lane.job.name
