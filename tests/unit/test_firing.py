"""What becomes of due instants: each policy by example, and all of them against a plain reading of the rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.domain.firing_policy import (
    ON_TIME,
    FiringPolicy,
    Tick,
    TickOutcome,
    TickReason,
    decide_due,
    newest_before,
    next_open_instant,
    skip_overlaps,
)
from mainspring.domain.job import Misfire, Overlap
from mainspring.domain.schedule import Cron, Every

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2027, 3, 1, tzinfo=UTC)
FIRED, COALESCED, SKIPPED, MISSED = TickOutcome
EVERY_MINUTE = Every(minutes=1)


def after(**parts: float) -> datetime:
    return START + timedelta(**parts)


def outcomes(ticks: Sequence[Tick]) -> list[tuple[str, str | None]]:
    return [(tick.outcome.value, tick.reason and tick.reason.value) for tick in ticks]


def plainly(
    schedule: Every, policy: FiringPolicy, watermark: datetime, now: datetime
) -> list[tuple[datetime, TickOutcome, TickReason | None]]:
    """Decide as the documentation reads: all instants at once, in sets."""
    instants = list(schedule.fires(watermark, now))
    open_ones = [
        instant
        for instant in instants
        if (policy.starts_at is None or instant >= policy.starts_at)
        and (policy.ends_at is None or instant < policy.ends_at)
    ]
    on_time = {instant for instant in open_ones if now - instant <= ON_TIME}
    late = [instant for instant in open_ones if now - instant > ON_TIME and now - instant <= policy.catch_up]
    firing: set[datetime] = set()
    if policy.misfire is Misfire.FIRE_ALL:
        firing = set(late[-policy.catch_up_limit :])
    elif policy.misfire is Misfire.FIRE_ONCE and not on_time:
        firing = set(late[-1:])
    told: list[tuple[datetime, TickOutcome, TickReason | None]] = []
    for instant in instants:
        if instant not in open_ones:
            told.append((instant, SKIPPED, TickReason.OUTSIDE_WINDOW))
        elif instant in on_time:
            told.append((instant, FIRED, None))
        elif instant not in late:
            told.append((instant, MISSED, TickReason.CATCH_UP_WINDOW))
        elif policy.misfire is Misfire.SKIP:
            told.append((instant, MISSED, TickReason.MISFIRE_POLICY))
        elif instant in firing:
            told.append((instant, FIRED, TickReason.LATE))
        elif policy.misfire is Misfire.FIRE_ONCE:
            told.append((instant, COALESCED, TickReason.LATE))
        else:
            told.append((instant, MISSED, TickReason.CATCH_UP_LIMIT))
    return told


SECONDS = st.integers(0, 400)
BOUNDS = st.none() | SECONDS.map(lambda seconds: after(seconds=seconds))
POLICIES = st.builds(
    FiringPolicy,
    misfire=st.sampled_from(Misfire),
    catch_up=SECONDS.map(lambda seconds: timedelta(seconds=seconds)),
    catch_up_limit=st.integers(1, 8),
    starts_at=BOUNDS,
    ends_at=BOUNDS,
)


@settings(max_examples=400, deadline=None)
@given(policy=POLICIES, interval=st.integers(1, 90), down=SECONDS, most=st.integers(1, 40))
def test_the_decision_is_that_of_a_plain_reading_however_it_is_cut_into_turns(
    policy: FiringPolicy, interval: int, down: int, most: int
) -> None:
    schedule, now = Every(seconds=interval), after(seconds=down)
    ticks: list[Tick] = []
    watermark, has_more = START, True
    while has_more:
        decision = decide_due(schedule, policy, watermark=watermark, now=now, most=most)
        ticks += decision.ticks
        watermark, has_more = decision.watermark, decision.has_more
        assert len(decision.ticks) <= most
    told = [(tick.scheduled_for, tick.outcome, tick.reason) for tick in ticks]
    assert told == plainly(schedule, policy, START, now)


def test_an_instant_is_late_only_after_ten_seconds() -> None:
    policy = FiringPolicy(misfire=Misfire.SKIP)
    for seconds, outcome in ((60, FIRED), (70, FIRED), (70.001, MISSED)):
        (tick,) = decide_due(EVERY_MINUTE, policy, watermark=START, now=after(seconds=seconds)).ticks
        assert tick.outcome is outcome


def test_nothing_is_decided_twice_and_the_watermark_only_goes_forward() -> None:
    decision = decide_due(EVERY_MINUTE, FiringPolicy(), watermark=after(hours=1), now=after(minutes=5))
    assert (decision.ticks, decision.watermark) == ([], after(hours=1))


@pytest.mark.parametrize("held", [TickReason.PAUSED, TickReason.DISABLED])
def test_what_is_held_is_skipped_for_its_reason_even_if_it_is_late(held: TickReason) -> None:
    decision = decide_due(EVERY_MINUTE, FiringPolicy(), watermark=START, now=after(minutes=3), held=held)
    assert outcomes(decision.ticks) == [("skipped", held.value)] * 3


def test_a_change_lets_what_is_on_time_fire_and_misses_what_is_late() -> None:
    now = after(minutes=2, seconds=3)
    decision = decide_due(EVERY_MINUTE, FiringPolicy(), watermark=START, now=now, is_changing=True)
    assert outcomes(decision.ticks) == [("missed", "schedule_changed"), ("fired", None)]


def test_a_day_that_never_was_is_told_beside_the_days_that_were() -> None:
    noon = Cron("0 12 * * *", tz="Pacific/Apia")
    before, later = datetime(2011, 12, 29, tzinfo=UTC), datetime(2011, 12, 31, tzinfo=UTC)
    ticks = decide_due(noon, FiringPolicy(), watermark=before, now=later, held=TickReason.PAUSED).ticks
    assert outcomes(ticks) == [("skipped", "paused"), ("skipped", "nonexistent_day"), ("skipped", "paused")]
    assert len({tick.scheduled_for for tick in ticks}) == 3


def test_the_newest_instants_are_found_without_looking_at_all_others() -> None:
    every_second = Cron("* * * * * *")
    century = datetime(1927, 1, 1, tzinfo=UTC)
    assert newest_before(every_second, 3, after=century, until=START) == [after(seconds=-2), after(seconds=-1), START]
    assert newest_before(Cron("0 0 1 1 *"), 5, after=after(days=-100), until=START) == [
        datetime(2027, 1, 1, tzinfo=UTC)
    ]
    assert newest_before(every_second, 1, after=START, until=START) == []


LATE = Tick(START, FIRED, TickReason.LATE)
ON_ITS_TIME = Tick(after(seconds=1), FIRED)


@pytest.mark.parametrize(
    ("ticks", "is_running", "told"),
    [
        ([ON_ITS_TIME], False, ["fired"]),
        ([ON_ITS_TIME], True, ["skipped"]),
        ([ON_ITS_TIME, ON_ITS_TIME], False, ["fired", "skipped"]),
        ([LATE], True, ["skipped"]),
        ([LATE, LATE], True, ["fired", "fired"]),
        ([LATE, LATE, ON_ITS_TIME], False, ["fired", "fired", "skipped"]),
    ],
)
def test_a_run_is_skipped_beside_one_that_goes_on_unless_fire_all_asked_for_it(
    *, ticks: list[Tick], is_running: bool, told: list[str]
) -> None:
    turned = skip_overlaps(ticks, Overlap.SKIP, is_running=is_running)
    assert [tick.outcome.value for tick in turned] == told
    assert skip_overlaps(ticks, Overlap.QUEUE, is_running=is_running) == ticks


def test_only_the_newest_of_several_due_runs_takes_the_place_of_the_running_one() -> None:
    turned = skip_overlaps([LATE, ON_ITS_TIME], Overlap.CANCEL_RUNNING, is_running=True)
    assert outcomes(turned) == [("coalesced", "overlap"), ("fired", None)]


def test_the_next_instant_lies_within_the_bounds() -> None:
    bounded = FiringPolicy(starts_at=after(hours=1), ends_at=after(hours=2))
    assert next_open_instant(EVERY_MINUTE, bounded, START) == after(hours=1)
    assert next_open_instant(EVERY_MINUTE, bounded, after(hours=1, minutes=58)) == after(hours=1, minutes=59)
    assert next_open_instant(EVERY_MINUTE, bounded, after(hours=1, minutes=59)) is None
