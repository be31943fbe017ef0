"""What was missed, what is not wanted, and what changes: each policy on both databases."""

from __future__ import annotations

import random  # noqa: TID251 - a test that names its seed
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.domain.firing_policy import TickReason
from mainspring.domain.job import Misfire, Overlap
from mainspring.domain.schedule import Cron, Every
from mainspring.store.tables import ticks as ticks_table
from mainspring.store.upkeep import retention
from tests.store.clockwork import MINUTELY, Clockwork

HOUR = 3600.0
EDITS = {"sqlite": 1000, "postgresql": 200}


# What was missed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        (Misfire.SKIP, [("missed", "misfire_policy")] * 5),
        (Misfire.FIRE_ONCE, [("coalesced", "late")] * 4 + [("fired", "late")]),
        (Misfire.FIRE_ALL, [("missed", "catch_up_limit")] * 2 + [("fired", "late")] * 3),
    ],
)
async def test_what_was_missed_comes_out_as_the_misfire_policy_says(
    clockwork: Clockwork, misfire: Misfire, outcomes: list[tuple[str, str]]
) -> None:
    await clockwork.go_to_minute()
    await clockwork.declare(replace(MINUTELY, misfire=misfire, catch_up_limit=3))
    clockwork.clock.advance(5 * 60)
    await clockwork.fire_all()
    assert await clockwork.told() == outcomes
    assert len(await clockwork.live()) == sum(outcome == "fired" for outcome, _ in outcomes)


@pytest.mark.parametrize("downtime", [timedelta(hours=1), timedelta(days=1), timedelta(days=30)])
@pytest.mark.parametrize("misfire", Misfire)
async def test_after_a_downtime_exactly_the_instants_fire_that_the_policy_names(
    clockwork: Clockwork, misfire: Misfire, downtime: timedelta
) -> None:
    since_instant = (await clockwork.now()).timestamp() % 600
    clockwork.clock.advance((300 - since_instant) % 600)  # between two instants: one that has just passed is not late
    await clockwork.declare(replace(MINUTELY, schedule=Every(minutes=10), misfire=misfire, catch_up_limit=30))
    started = await clockwork.now()
    clockwork.clock.advance(downtime.total_seconds())
    await clockwork.fire_all()
    now = await clockwork.now()

    instants = list(Every(minutes=10).fires(started, now))
    late = [instant for instant in instants if now - instant <= timedelta(hours=24)]
    expected = {Misfire.SKIP: [], Misfire.FIRE_ONCE: late[-1:], Misfire.FIRE_ALL: late[-30:]}[misfire]
    told = await clockwork.ticks()
    assert [item.tick.scheduled_for for item in told] == instants
    assert [item.tick.scheduled_for for item in told if item.tick.fires] == expected
    assert len(await clockwork.live()) == len(expected)
    if downtime > timedelta(days=1):
        assert told[0].tick.reason is TickReason.CATCH_UP_WINDOW


async def test_each_tick_of_an_edited_schedule_is_that_of_the_version_in_force(clockwork: Clockwork) -> None:
    chance = random.Random(7)
    expressions = "*/2 * * * * *", "1-59/2 * * * * *"
    await clockwork.declare(replace(MINUTELY, schedule=Cron(expressions[0])))
    edits = [(await clockwork.now(), expressions[0])]
    while len(edits) < EDITS[clockwork.lab.database.dialect_name]:
        clockwork.clock.advance(chance.uniform(0.0, 2.5))
        if chance.random() < 0.4:
            await clockwork.fire_all()
        else:
            expression = chance.choice(expressions)
            await clockwork.change(override_expression=expression, override_at=await clockwork.now())
            edits.append((await clockwork.now(), expression))
    await clockwork.fire_all()
    end = await clockwork.now()

    recorded = {item.tick.scheduled_for for item in await clockwork.ticks()}
    spans = zip(edits, [*edits[1:], (end, "")], strict=True)
    doubtful = {instant for at, _ in edits for instant in (at.replace(microsecond=0),)}
    due = {instant for (start, expression), (until, _) in spans for instant in Cron(expression).fires(start, until)}
    assert recorded ^ due <= doubtful
    assert len(await clockwork.live()) == len(recorded)


async def test_what_was_missed_starts_one_after_the_other(clockwork: Clockwork) -> None:
    await clockwork.go_to_minute()
    await clockwork.declare(replace(MINUTELY, misfire=Misfire.FIRE_ALL))
    clockwork.clock.advance(5 * 60)
    await clockwork.fire()
    starts = [run.available_at for run in await clockwork.runs() if run.available_at is not None]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    assert 0 < gaps[0] < 0.3  # the first starts when it is written, a little after the instant that the others follow
    assert gaps[1:] == [pytest.approx(0.25, abs=0.05)] * 3


async def test_a_month_of_every_second_is_caught_up_in_bounded_transactions(clockwork: Clockwork) -> None:
    await clockwork.go_to_minute()
    await clockwork.declare(replace(MINUTELY, schedule=Every(seconds=1)))
    started = await clockwork.now()
    clockwork.clock.advance(2 * HOUR)
    turns = await clockwork.fire_all()
    assert max(len(turn.ticks) for turn in turns) == 1000
    told = await clockwork.told()
    instants = Every(seconds=1).fires(started, await clockwork.now())
    assert abs(len(told) - len(list(instants))) <= 2  # the clock goes on while the test looks at it
    assert told[:-11] == [("coalesced", "late")] * len(told[:-11])
    assert set(told[-10:]) == {("fired", None)}


async def test_a_clock_that_goes_back_and_a_pruned_history_fire_nothing_again(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute(second=1.0)
    assert sum(turn.executions for turn in await clockwork.fire_all()) >= 1
    await clockwork.lab.database.tx(lambda connection: connection.execute(sa.delete(ticks_table)))
    await clockwork.lab.database.tx(
        lambda connection: retention.prune(connection, older_than=timedelta(0), environment="test")
    )
    clockwork.clock.advance(-HOUR)
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 0
    clockwork.clock.advance(HOUR)
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 0
    await clockwork.go_to_minute(second=1.0)
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 1


# What is not wanted ---------------------------------------------------------------------------------------------------


async def test_a_paused_and_a_disabled_schedule_record_what_they_skip(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY, replace(MINUTELY, name="off", enabled=False))
    await clockwork.change(paused_at=await clockwork.now())
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire_all()
    assert await clockwork.told() == [("skipped", "paused")]
    assert await clockwork.told("off") == [("skipped", "disabled")]
    assert await clockwork.live() == await clockwork.live("off") == []
    assert (await clockwork.schedule()).next_run_at is (await clockwork.schedule("off")).next_run_at is None


async def test_a_resume_fires_nothing_of_the_time_of_the_pause(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute()
    await clockwork.change(paused_at=await clockwork.now())
    clockwork.clock.advance(3 * 60)
    _, after = await clockwork.change(paused_at=None)
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 0
    assert (await clockwork.told())[-3:] == [("skipped", "paused")] * 3
    assert after.next_run_at is not None
    await clockwork.go_to(after.next_run_at)
    assert (await clockwork.fire()).executions == 1


async def test_a_pause_that_ends_by_itself_lets_the_next_instant_fire(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    minute = await clockwork.go_to_minute()
    until = minute + timedelta(minutes=2, seconds=30)
    _, paused = await clockwork.change(paused_at=await clockwork.now(), paused_until=until)
    assert paused.next_run_at == minute + timedelta(minutes=3)
    await clockwork.go_to(minute + timedelta(minutes=3, seconds=1))
    await clockwork.fire_all()
    assert (await clockwork.told())[-3:] == [("skipped", "paused"), ("skipped", "paused"), ("fired", None)]


async def test_an_edit_fires_nothing_at_once_and_what_it_missed_is_told(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute()
    clockwork.clock.advance(3 * 60)
    await clockwork.change(override_expression="*/2 * * * *", override_at=await clockwork.now())
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 0
    assert set((await clockwork.told())[-3:]) == {("missed", "schedule_changed")}
    assert await clockwork.live() == []


async def test_what_is_on_time_still_fires_when_the_schedule_changes(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    minute = await clockwork.go_to_minute(second=2.0)
    await clockwork.change(override_expression="0 0 1 1 *", override_at=minute)
    assert await clockwork.told() == [("fired", None)]
    assert (await clockwork.schedule()).next_run_at == datetime(minute.year + 1, 1, 1, tzinfo=UTC)


async def test_an_override_that_expires_gives_way_to_the_code_without_firing_the_past(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    minute = await clockwork.go_to_minute()
    await clockwork.change(
        override_expression="0 0 1 1 *",
        override_at=minute,
        override_expires_at=minute + timedelta(minutes=2, seconds=30),
    )
    await clockwork.go_to(minute + timedelta(minutes=3, seconds=1))
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 1
    # Nothing of the code's own instants before the end of the override: they were never due.
    assert await clockwork.told() == [("missed", "schedule_changed"), ("fired", None)]
    assert (await clockwork.ticks())[-1].tick.scheduled_for == minute + timedelta(minutes=3)


async def test_instants_outside_of_the_bounds_are_skipped(clockwork: Clockwork) -> None:
    minute = await clockwork.go_to_minute()
    bounds = {"starts_at": minute + timedelta(minutes=2), "ends_at": minute + timedelta(minutes=3)}
    await clockwork.declare(replace(MINUTELY, **bounds))
    assert (await clockwork.schedule()).next_run_at == minute + timedelta(minutes=2)
    for _ in range(3):
        await clockwork.go_to_minute(second=1.0)
        await clockwork.fire_all()
    skipped = ("skipped", "outside_window")
    assert await clockwork.told() == [skipped, ("fired", None), skipped]
    assert (await clockwork.schedule()).next_run_at is None


async def test_a_condition_decides_and_who_cannot_ask_it_leaves_the_instant_alone(clockwork: Clockwork) -> None:
    await clockwork.declare(replace(MINUTELY, condition=lambda: True))
    await clockwork.go_to_minute(second=1.0)
    assert (await clockwork.fire()).ticks == []
    await clockwork.fire({"minutely": TickReason.CONDITION})
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire({"minutely": None})
    assert await clockwork.told() == [("skipped", "condition"), ("fired", None)]


@pytest.mark.parametrize(
    ("overlap", "outcomes", "statuses"),
    [
        (Overlap.SKIP, [("fired", None), ("skipped", "overlap")], [Status.RUNNING]),
        (Overlap.QUEUE, [("fired", None)] * 2, [Status.RUNNING, Status.QUEUED]),
        (Overlap.ALLOW, [("fired", None)] * 2, [Status.RUNNING, Status.QUEUED]),
        (Overlap.CANCEL_RUNNING, [("fired", None)] * 2, [Status.RUNNING, Status.QUEUED]),
    ],
)
async def test_a_run_that_goes_on_is_treated_as_the_overlap_policy_says(
    clockwork: Clockwork, overlap: Overlap, outcomes: list[tuple[str, str | None]], statuses: list[Status]
) -> None:
    await clockwork.declare(replace(MINUTELY, overlap=overlap))
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire()
    await clockwork.lab.claim(names=["minutely"])
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire()
    assert await clockwork.told() == outcomes
    runs = await clockwork.runs()
    assert [run.status for run in runs] == statuses
    assert runs[0].cancel_requested is (overlap is Overlap.CANCEL_RUNNING)
    claimed_beside = await clockwork.lab.claim(names=["minutely"])
    assert len(claimed_beside) == (1 if overlap is Overlap.ALLOW else 0)


async def test_a_queued_run_gives_way_to_the_next_where_it_is_to_be_cancelled(clockwork: Clockwork) -> None:
    await clockwork.declare(replace(MINUTELY, overlap=Overlap.CANCEL_RUNNING))
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire()
    (first,) = await clockwork.live()
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire()
    assert await clockwork.lab.status(first) is Status.CANCELLED
    assert len(await clockwork.live()) == 1


async def test_a_schedule_is_paused_after_so_many_failures_in_a_row_and_a_resume_counts_anew(
    clockwork: Clockwork,
) -> None:
    await clockwork.declare(replace(MINUTELY, pause_after=2))
    for _ in range(3):
        await clockwork.go_to_minute(second=1.0)
        await clockwork.fire_all()
        for claimed in await clockwork.lab.claim(names=["minutely"]):
            await clockwork.lab.fail(claimed)
    assert await clockwork.told() == [("fired", None), ("fired", None), ("skipped", "paused")]
    schedule = await clockwork.schedule()
    assert schedule.pause is not None
    assert (schedule.pause.by, schedule.pause.reason) == ("mainspring", "2 runs in a row failed")
    await clockwork.change(paused_at=None)
    await clockwork.go_to_minute(second=1.0)
    assert sum(turn.executions for turn in await clockwork.fire_all()) == 1
