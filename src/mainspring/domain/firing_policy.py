"""The firing policy of a schedule: what misfire, overlap, catch-up and pauses make of instants that have come.

Pure rules, the same on every node.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from mainspring.domain.job import DEFAULT_CATCH_UP, DEFAULT_CATCH_UP_LIMIT, Misfire, Overlap
from mainspring.domain.schedule import Cron

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mainspring.domain.schedule import Every

ON_TIME: Final = timedelta(seconds=10)
"""How late an instant may be decided and still fire as usual: longer than a node's failure is felt by the others."""

MOST_TICKS: Final = 1000
"""How many instants of one schedule are decided at once, so that a long backlog locks nobody out."""

_FIRST_LOOK_BACK: Final = timedelta(seconds=1)
_WIDER: Final = 8
_JUST_BEFORE: Final = timedelta(milliseconds=1)


class TickOutcome(StrEnum):
    """What became of one due instant, in the words of contract §1."""

    FIRED = "fired"
    COALESCED = "coalesced"
    """Another instant's run stands for it."""
    SKIPPED = "skipped"
    """It was not wanted."""
    MISSED = "missed"
    """Nobody could fire it in time."""


class TickReason(StrEnum):
    """Why a tick came out as it did; one that fired on time needs none."""

    LATE = "late"
    """Fired or coalesced after its time, as the misfire policy says."""
    STARTUP = "startup"
    BACKFILL = "backfill"
    OVERLAP = "overlap"
    PAUSED = "paused"
    ALL_PAUSED = "all_paused"
    """Somebody paused every schedule of the environment."""
    DISABLED = "disabled"
    CONDITION = "condition"
    CONDITION_ERROR = "condition_error"
    OUTSIDE_WINDOW = "outside_window"
    NONEXISTENT_DAY = "nonexistent_day"
    MISFIRE_POLICY = "misfire_policy"
    CATCH_UP_WINDOW = "catch_up_window"
    CATCH_UP_LIMIT = "catch_up_limit"
    NOT_STARTED = "not_started"
    """Whoever was to start it, such as cron, did not."""
    SCHEDULE_CHANGED = "schedule_changed"


@dataclass(frozen=True, slots=True)
class Tick:
    """One due instant of a schedule and what became of it."""

    scheduled_for: datetime
    outcome: TickOutcome
    reason: TickReason | None = None

    @property
    def fires(self) -> bool:
        """Whether an execution is made for it."""
        return self.outcome is TickOutcome.FIRED

    def turned(self, outcome: TickOutcome, reason: TickReason) -> Tick:
        """Return the same instant with another fate."""
        return replace(self, outcome=outcome, reason=reason)


@dataclass(frozen=True, slots=True)
class FiringPolicy:
    """What a job says about instants that it cannot simply fire at.

    Attributes:
        misfire: What is done about instants that passed while nobody could fire them.
        catch_up: How old such an instant may be.
        catch_up_limit: How many of them `fire_all` makes up for, the newest ones.
        overlap: What is done while the previous run has not ended.
        starts_at: Instants before it are skipped; None: no bound.
        ends_at: Instants from it on are skipped; None: no bound.
        external: Whether somebody else starts the runs: nothing fires, and what has not been started in time is missed.
    """

    misfire: Misfire = Misfire.FIRE_ONCE
    catch_up: timedelta = DEFAULT_CATCH_UP
    catch_up_limit: int = DEFAULT_CATCH_UP_LIMIT
    overlap: Overlap = Overlap.SKIP
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    external: bool = False

    def is_open_at(self, instant: datetime) -> bool:
        """Whether the bounds let an instant fire."""
        has_begun = self.starts_at is None or instant >= self.starts_at
        return has_begun and (self.ends_at is None or instant < self.ends_at)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a schedule.

    Attributes:
        ticks: One for each instant, the oldest first.
        watermark: The last instant that is decided.
        has_more: Whether more instants are due than one decision takes.
    """

    ticks: Sequence[Tick]
    watermark: datetime
    has_more: bool


def decide_due(
    schedule: Cron | Every,
    policy: FiringPolicy,
    *,
    watermark: datetime,
    now: datetime,
    until: datetime | None = None,
    held: TickReason | None = None,
    is_changing: bool = False,
    most: int = MOST_TICKS,
) -> Decision:
    """Say what becomes of the instants of a schedule after its watermark, up to now.

    An instant is on time while it is at most 10 seconds old, and fires. An older one is late, and the misfire policy
    decides: `skip` misses it; `fire_once` fires the newest late one for all others, unless one on time stands for them
    already; `fire_all` fires the newest ones up to the limit. What is older than the catch-up window is missed.

    Args:
        schedule: What is in force.
        policy: What the job says.
        watermark: The last instant that was decided; aware.
        now: The store's instant, less the schedule's jitter.
        until: The last instant to decide; by default `now`.
        held: Why nothing fires at present: `paused`, `all_paused` or `disabled`.
        is_changing: Whether somebody is about to change the schedule: what is late then never fires, so that a resume
            or an edit starts nothing.
        most: How many instants to decide at once.

    Example:
        >>> hourly = Cron("0 * * * *")
        >>> start = datetime(2027, 1, 1, 0, 30, tzinfo=UTC)
        >>> decision = decide_due(hourly, FiringPolicy(), watermark=start, now=start + timedelta(hours=3))
        >>> [(tick.scheduled_for.hour, tick.outcome.value) for tick in decision.ticks]
        [(1, 'coalesced'), (2, 'coalesced'), (3, 'fired')]
    """
    until = until or now
    instants = list(islice(schedule.fires(watermark, until), most + 1))
    has_more = len(instants) > most
    instants = instants[:most]
    decided_until = instants[-1] if has_more else until
    if held is not None:
        ticks = [Tick(instant, TickOutcome.SKIPPED, held) for instant in instants]
    elif policy.external:
        ticks = [Tick(instant, TickOutcome.MISSED, TickReason.NOT_STARTED) for instant in instants]
    else:
        late = _LateInstants(schedule, policy, watermark=watermark, now=now, is_changing=is_changing)
        ticks = [_on_time_or(late, policy, instant, now) for instant in instants]
    ticks += _missing_days(schedule, watermark, decided_until)
    ticks.sort(key=lambda tick: tick.scheduled_for)
    return Decision(ticks, max(watermark, instants[-1]) if instants else watermark, has_more)


def _on_time_or(late: _LateInstants, policy: FiringPolicy, instant: datetime, now: datetime) -> Tick:
    if not policy.is_open_at(instant):
        return Tick(instant, TickOutcome.SKIPPED, TickReason.OUTSIDE_WINDOW)
    return Tick(instant, TickOutcome.FIRED) if now - instant <= ON_TIME else late.decide(instant)


class _LateInstants:
    """Decides instants that passed while nobody could fire them, without looking at all of them first."""

    def __init__(
        self, schedule: Cron | Every, policy: FiringPolicy, *, watermark: datetime, now: datetime, is_changing: bool
    ) -> None:
        self._schedule = schedule
        self._policy = policy
        self._watermark = watermark
        self._now = now
        self._is_changing = is_changing
        self._oldest_fired: datetime | None = None
        self._has_looked = False

    def decide(self, instant: datetime) -> Tick:
        policy = self._policy
        if self._is_changing:
            return Tick(instant, TickOutcome.MISSED, TickReason.SCHEDULE_CHANGED)
        if instant < self._now - policy.catch_up:
            return Tick(instant, TickOutcome.MISSED, TickReason.CATCH_UP_WINDOW)
        if policy.misfire is Misfire.SKIP:
            return Tick(instant, TickOutcome.MISSED, TickReason.MISFIRE_POLICY)
        oldest_fired = self._look_for_the_oldest_fired()
        if oldest_fired is not None and instant >= oldest_fired:
            return Tick(instant, TickOutcome.FIRED, TickReason.LATE)
        if policy.misfire is Misfire.FIRE_ONCE:
            return Tick(instant, TickOutcome.COALESCED, TickReason.LATE)
        return Tick(instant, TickOutcome.MISSED, TickReason.CATCH_UP_LIMIT)

    def _look_for_the_oldest_fired(self) -> datetime | None:
        if not self._has_looked:
            self._has_looked = True
            self._oldest_fired = self._find_the_oldest_fired()
        return self._oldest_fired

    def _find_the_oldest_fired(self) -> datetime | None:
        policy = self._policy
        late_until = self._now - ON_TIME - _JUST_BEFORE
        fires_all = policy.misfire is Misfire.FIRE_ALL
        if not fires_all and any(map(policy.is_open_at, self._schedule.fires(late_until, self._now))):
            return None
        after = max(self._watermark, self._now - policy.catch_up - _JUST_BEFORE)
        if policy.starts_at is not None:
            after = max(after, policy.starts_at - _JUST_BEFORE)
        until = late_until if policy.ends_at is None else min(late_until, policy.ends_at - _JUST_BEFORE)
        newest = newest_before(self._schedule, policy.catch_up_limit if fires_all else 1, after=after, until=until)
        return newest[0] if newest else None


def newest_before(schedule: Cron | Every, count: int, *, after: datetime, until: datetime) -> list[datetime]:
    """Return the newest instants in a span, the oldest of them first; looks back no further than it has to.

    Args:
        schedule: Whose instants.
        count: How many, at least 1.
        after: The span begins after it.
        until: The span ends with it.
    """
    look_back = _FIRST_LOOK_BACK * count
    while True:
        start = max(after, until - look_back)
        found = deque(schedule.fires(start, until), maxlen=count)
        if len(found) == count or start == after:
            return list(found)
        look_back *= _WIDER


def skip_overlaps(ticks: Sequence[Tick], overlap: Overlap, *, is_running: bool) -> list[Tick]:
    """Return the ticks with those turned that would run beside a run that has not ended.

    What `fire_all` makes up for is queued one after the other whatever the overlap policy: it was asked for.

    Args:
        ticks: What was decided.
        overlap: The job's policy.
        is_running: Whether a run of the job is queued, running or retrying.
    """
    if overlap is Overlap.CANCEL_RUNNING:
        return _keep_the_newest(ticks)
    if overlap is not Overlap.SKIP:
        return list(ticks)
    catches_up = sum(tick.fires and tick.reason is TickReason.LATE for tick in ticks) > 1
    kept: list[Tick] = []
    for tick in ticks:
        if tick.fires and is_running and not (catches_up and tick.reason is TickReason.LATE):
            kept.append(tick.turned(TickOutcome.SKIPPED, TickReason.OVERLAP))
        else:
            is_running = is_running or tick.fires
            kept.append(tick)
    return kept


def _keep_the_newest(ticks: Sequence[Tick]) -> list[Tick]:
    newest = max((tick.scheduled_for for tick in ticks if tick.fires), default=None)
    return [
        tick.turned(TickOutcome.COALESCED, TickReason.OVERLAP) if tick.fires and tick.scheduled_for != newest else tick
        for tick in ticks
    ]


def next_open_instant(schedule: Cron | Every, policy: FiringPolicy, after: datetime) -> datetime | None:
    """Return the next instant that the bounds let fire; None if there is none."""
    if policy.starts_at is not None:
        after = max(after, policy.starts_at - _JUST_BEFORE)
    instant = schedule.next_after(after)
    return instant if instant is not None and policy.is_open_at(instant) else None


def _missing_days(schedule: Cron | Every, after: datetime, until: datetime) -> Iterator[Tick]:
    """Yield a tick for each local day that the schedule names and that its zone left out.

    It stands a millisecond before the change, where no other instant can be.
    """
    if isinstance(schedule, Cron):
        for day in schedule.missing_days(after, until):
            change = datetime.combine(day, time(), ZoneInfo(schedule.tz)).astimezone(UTC)
            yield Tick(change - _JUST_BEFORE, TickOutcome.SKIPPED, TickReason.NONEXISTENT_DAY)
