"""The monitor finds how jobs are doing from what the store holds: late, stale, failing, held; each thing once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.domain.access import Scope
from mainspring.domain.alert import Severity
from mainspring.domain.execution import Status
from mainspring.domain.job import JobDefinition, Overlap
from mainspring.domain.route import Route
from mainspring.domain.schedule import Cron
from mainspring.domain.thresholds import Thresholds
from mainspring.runtime.monitor import Monitor
from mainspring.settings import Settings
from mainspring.store.alerting import notifications
from mainspring.store.coordination import cluster, dead_nodes
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import present_instant, store_now
from mainspring.store.engine.signals import Signals
from mainspring.store.monitoring import health, health_look, health_system
from mainspring.store.queue import finishes
from mainspring.store.scheduling import pauses
from mainspring.store.tables import definitions, executions, job_health
from tests.store.clockwork import MINUTELY
from tests.store.watch import Watch

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.clockwork import Clockwork
    from tests.store.conftest import Lab, StoreClock

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
HOURLY = JobDefinition("hourly", schedule=Cron("0 * * * *"), overlap=Overlap.ALLOW)


@pytest.fixture
def watch(clockwork: Clockwork) -> Watch:
    return Watch(clockwork)


async def test_a_job_that_has_not_run_yet_is_unknown_and_has_half_an_hour(watch: Watch) -> None:
    await watch.clockwork.declare(MINUTELY)
    await watch.turn()
    found = await watch.health()
    schedule = await watch.clockwork.schedule()
    assert found.health.state == "unknown"
    assert schedule.next_run_at is not None
    assert found.health.stale_at == schedule.next_run_at + timedelta(minutes=30)


async def test_a_job_is_late_then_stale_within_a_turn_of_its_threshold_and_well_after_a_success(watch: Watch) -> None:
    limits = Thresholds(staleness=timedelta(minutes=5))
    await watch.clockwork.declare(JobDefinition("minutely", schedule=Cron("* * * * *"), thresholds=limits))
    await watch.turn()
    stale_at = (await watch.health()).health.stale_at
    assert stale_at is not None
    await watch.pass_time(stale_at - timedelta(seconds=10) - await watch.clockwork.now())
    assert await watch.state() == "late"
    assert not await watch.alerts()
    await watch.clockwork.go_to(stale_at)
    await watch.turn()
    assert await watch.state() == "stale"
    alert = (await watch.alerts())["staleness:minutely"]
    assert alert.severity is Severity.CRITICAL
    assert alert.figures["thresholdSeconds"] == 300
    assert "it has never succeeded" in alert.sentence
    await watch.pass_time(MINUTE)
    assert (await watch.alerts())["staleness:minutely"].occurrences == 1
    await watch.run()
    await watch.turn()
    assert not await watch.alerts()
    found = await watch.health()
    assert found.health.state == "healthy"
    assert found.health.stale_at is not None
    assert found.health.stale_at > stale_at


async def test_the_alert_of_a_silent_job_says_what_became_of_its_instant(watch: Watch) -> None:
    await watch.clockwork.declare(MINUTELY)
    await watch.turn()
    await watch.pass_time(timedelta(minutes=32))
    (alert,) = (await watch.alerts()).values()
    assert alert.deduplication_key == "staleness:minutely"
    assert "was made for its last instant and has not succeeded" in alert.sentence


async def test_silence_of_which_nobody_looked_at_the_instant_is_told_so(watch: Watch) -> None:
    await watch.clockwork.declare(MINUTELY)
    await watch.turn(longest_silence=timedelta(days=1))
    watch.clockwork.clock.advance(timedelta(minutes=40).total_seconds())
    await watch.turn(longest_silence=timedelta(days=1))
    assert "is a node with the scheduler role alive?" in (await watch.alerts())["staleness:minutely"].sentence


async def test_failures_in_a_row_open_one_alert_count_exactly_and_end_with_the_next_success(watch: Watch) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    failed = Status.FAILED
    await watch.run_now(failed, failed, name="hourly", error_message="disk full", error_fingerprint="f00d")
    await watch.turn()
    assert not await watch.alerts()
    assert (await watch.health("hourly")).streak.failures == 2
    await watch.run_now(failed, name="hourly", error_message="disk full", error_fingerprint="f00d")
    await watch.turn()
    alert = (await watch.alerts())["consecutive_failures:hourly"]
    assert (alert.occurrences, alert.fingerprint, alert.severity) == (3, "f00d", Severity.CRITICAL)
    assert alert.sentence == "hourly has failed 3 times in a row, and 3 are too many: disk full"
    assert await watch.state("hourly") == "failing"
    for _ in range(2):
        await watch.run_now(*[failed] * 4, name="hourly")
        await watch.turn()
    assert (await watch.alerts())["consecutive_failures:hourly"].occurrences == 11
    await watch.run_now(Status.SUCCEEDED, name="hourly")
    await watch.turn()
    assert "consecutive_failures:hourly" not in await watch.alerts()


async def test_a_flood_of_failures_is_counted_to_the_last_one(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    for size in (150, 250):
        await lab.enqueue(*(lab.new(job_name="hourly") for _ in range(size)))
        claimed = await lab.claim(size, names=["hourly"])
        await lab.finish(*(lab.end(item, Status.FAILED) for item in claimed))
        watch.clockwork.clock.advance(2)
        await watch.turn()
    assert (await watch.alerts())["consecutive_failures:hourly"].occurrences == 400
    assert (await watch.health("hourly")).streak.failures == 400


async def test_a_run_that_ends_while_nobody_can_see_it_yet_is_counted_later(watch: Watch, lab: Lab) -> None:
    """The end is written in a transaction that commits after the monitor has looked past its instant."""
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    for _ in range(2):  # that the job was declared is settled as well
        watch.clockwork.clock.advance(5)
        await watch.turn()
    watch.clockwork.clock.advance(5)
    await lab.enqueue_one(job_name="hourly")
    claimed = await lab.claim_one(names=["hourly"])
    if lab.database.dialect_name == "sqlite":
        await lab.finish(lab.end(claimed, Status.FAILED))
        await watch.turn()
        assert (await watch.watched()).counted_until < await watch.clockwork.now()
    else:
        await _look_while_an_end_is_open(watch, lab, lab.end(claimed, Status.FAILED))
    assert (await watch.health("hourly")).streak.failures == 0
    watch.clockwork.clock.advance(40)
    await watch.turn()
    assert (await watch.health("hourly")).streak.failures == 1


async def _look_while_an_end_is_open(watch: Watch, lab: Lab, end: finishes.Finish) -> None:
    written, looked = asyncio.Event(), asyncio.Event()

    def finish(connection: sa.Connection) -> None:
        finishes.finish(connection, lab.environment, [end])
        written.set()
        await_only(looked.wait())

    ending = lab.world.spawn(lab.database.tx(finish), name="ending")
    await written.wait()
    await watch.turn()
    looked.set()
    await ending


async def test_of_two_monitors_that_saw_the_same_one_writes(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    await watch.run_now(*[Status.FAILED] * 3, name="hourly")
    looks = [
        await lab.database.read(lambda connection: health_look.look(connection, lab.environment)) for _ in range(2)
    ]
    taken = [
        await lab.database.tx(lambda connection, seen=seen: health_look.take(connection, lab.environment, seen))
        for seen in looks
    ]
    assert taken == [True, False]


async def test_two_nodes_at_once_make_one_alert_with_the_exact_count(watch: Watch) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    await watch.run_now(*[Status.FAILED] * 4, name="hourly")
    await asyncio.gather(*(watch.turn() for _ in range(3)))
    assert {key: alert.occurrences for key, alert in (await watch.alerts()).items()} == {
        "consecutive_failures:hourly": 4
    }


async def test_a_paused_job_is_paused_and_never_stale_until_it_goes_on(watch: Watch) -> None:
    await watch.clockwork.declare(MINUTELY)
    await watch.turn()
    now = await watch.clockwork.now()
    await watch.clockwork.change(
        paused_at=now, paused_until=now + HOUR, paused_by="maja", paused_reason="the data moves"
    )
    watch.clockwork.clock.advance(5)
    await watch.turn()
    found = await watch.health()
    assert found.health.state == "paused"
    assert "by maja" in found.health.sentence
    assert found.health.stale_at is None
    assert found.health.look_at == now + HOUR
    await watch.pass_time(HOUR + timedelta(minutes=10))
    assert not await watch.alerts()
    await watch.pass_time(timedelta(minutes=25))
    assert list(await watch.alerts()) == ["staleness:minutely"]


async def test_while_everything_is_paused_nothing_is_stale_until_it_goes_on(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(MINUTELY)
    await watch.turn()
    until = await watch.clockwork.now() + 2 * HOUR
    await lab.database.tx(
        lambda connection: pauses.begin(connection, "test", until=until, by="maja", reason="the data moves")
    )
    await watch.pass_time(HOUR)
    assert await watch.state() == "paused"
    await watch.pass_time(HOUR + timedelta(minutes=10))
    assert not await watch.alerts()
    await watch.pass_time(timedelta(minutes=25))
    assert list(await watch.alerts()) == ["staleness:minutely"]


async def test_a_disabled_job_says_so_and_one_that_is_retired_is_forgotten(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(MINUTELY)
    await watch.clockwork.change(override_enabled=False)
    await watch.turn()
    assert await watch.state() == "disabled"
    retire = sa.update(definitions).values(retired_at=await watch.clockwork.now())
    await lab.database.tx(lambda connection: connection.execute(retire))
    watch.clockwork.clock.advance(5)
    await watch.turn()
    assert not await lab.database.read(lambda connection: health.find(connection, lab.environment))


async def test_a_clock_that_goes_back_stops_no_watch(watch: Watch) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    watch.clockwork.clock.advance(-600)
    await watch.run_now(*[Status.FAILED] * 3, name="hourly")
    await watch.turn()
    await watch.turn()
    assert "consecutive_failures:hourly" in await watch.alerts()


async def test_a_run_that_goes_on_for_too_long_is_found_while_it_runs(watch: Watch, lab: Lab) -> None:
    slow = JobDefinition("slow", thresholds=Thresholds(execution_time=timedelta(seconds=20)))
    await watch.clockwork.declare(slow)
    await watch.turn()
    execution_id = await lab.enqueue_one(job_name="slow")
    await lab.claim(names=["slow"])
    watch.clockwork.clock.advance(15)
    await watch.turn()
    assert not await watch.alerts()
    watch.clockwork.clock.advance(6)
    await watch.turn()
    alert = (await watch.alerts())["execution_time:slow"]
    assert alert.execution_id == execution_id
    assert await watch.state("slow") == "slow"


async def test_an_idle_turn_only_reads_and_says_every_two_minutes_that_somebody_watches(watch: Watch) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    watch.clockwork.clock.advance(15)
    await watch.turn()
    before = await watch.watched()
    watch.clockwork.clock.advance(6)
    turn = await watch.turn()
    assert turn.did == 0
    assert turn.again_in is not None
    assert await watch.watched() == before
    watch.clockwork.clock.advance(120)
    await watch.turn()
    assert (await watch.watched()).watched_at > before.watched_at


async def test_the_state_is_written_with_what_made_it(watch: Watch) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    await watch.run_now(Status.SUCCEEDED, name="hourly", duration_ms=1500)
    await watch.turn()
    since = (await watch.health("hourly")).since
    await watch.run_now(Status.SUCCEEDED, name="hourly", duration_ms=1500)
    await watch.turn()
    found = await watch.health("hourly")
    assert found.since == since
    assert found.health.sentence == "the last 2 runs of hourly succeeded, usually 1.5 s"
    assert found.health.figures["usualDurationMs"] == 1500
    assert found.last_success_at is not None
    assert found.last_failure_at is None


async def test_a_passed_instant_is_found_by_its_index(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    on_sqlite = lab.database.dialect_name == "sqlite"
    now = "5" if on_sqlite else "now()"
    due = f"environment = 'test' and look_at <= {now} order by look_at limit 200"
    statement = f"select job_name from mainspring.job_health where {due}"  # noqa: S608 - names that stand here

    def plan(connection: sa.Connection) -> str:
        if not on_sqlite:
            connection.exec_driver_sql("set local enable_seqscan = off")
        explain = "explain query plan " if on_sqlite else "explain "
        return str(connection.exec_driver_sql(explain + statement).all())

    assert "job_health_look" in await lab.database.tx(plan)


async def test_history_that_was_pruned_is_no_failure(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    await watch.run_now(Status.FAILED, name="hourly")
    await lab.database.tx(lambda connection: connection.execute(sa.delete(executions)))
    await watch.turn()
    assert await watch.state("hourly") == "unknown"


async def test_a_node_lost_is_told_until_one_of_its_name_is_back(watch: Watch, lab: Lab) -> None:
    await lab.register_node(name="lost", lease_seconds=5)
    await watch.turn()
    watch.clockwork.clock.advance(10)
    assert await lab.database.tx(dead_nodes.bury) == ["lost"]
    await watch.turn()
    alert = (await watch.alerts())["node_lost:lost"]
    assert (alert.severity, alert.figures["alive"]) == (Severity.CRITICAL, 0)
    back = await lab.register_node(name="lost", lease_seconds=1_000)
    watch.clockwork.clock.advance(5)
    await watch.turn()
    assert not await watch.alerts()
    await lab.database.tx(lambda connection: cluster.leave(connection, back))
    watch.clockwork.clock.advance(5)
    await watch.turn()
    assert not await watch.alerts(), "it was back, and went in peace"


async def test_a_node_that_is_lost_again_is_told_again(watch: Watch, lab: Lab) -> None:
    for _ in range(2):
        await lab.register_node(name="lost", lease_seconds=20)
        watch.clockwork.clock.advance(5)
        await watch.turn()
        assert not await watch.alerts()
        watch.clockwork.clock.advance(20)
        await lab.database.tx(dead_nodes.bury)
        await watch.turn()
        assert list(await watch.alerts()) == ["node_lost:lost"]


async def test_what_nobody_takes_is_told_and_what_waits_for_room_is_not(watch: Watch, lab: Lab) -> None:
    await watch.turn()
    await lab.enqueue_one(job_name="stranded")
    await lab.enqueue_one(job_name="deep", queue="bulk")
    watch.clockwork.clock.advance(61)
    await watch.turn()
    assert {"never_claimed:stranded", "never_claimed:deep"} <= (await watch.everything()).keys()
    await lab.register_node(lease_seconds=1_000)
    await lab.enqueue(*(lab.new(job_name="busy") for _ in range(10)))
    assert len(await lab.claim(names=["busy"])) == 10
    watch.clockwork.clock.advance(600)
    await watch.turn(longest_silence=HOUR)
    assert set(await watch.everything()) == {"queue_age:default", "queue_age:bulk"}


async def test_a_week_of_history_that_is_missing_is_told(postgresql_owner: Database) -> None:
    instant = await postgresql_owner.read(lambda connection: connection.execute(sa.select(store_now())).scalar_one())
    next_week = instant + timedelta(weeks=1)
    name = f"mainspring.executions_{next_week - timedelta(days=next_week.weekday()):%Y%m%d}"
    try:
        await postgresql_owner.tx(lambda connection: connection.execute(sa.text(f"drop table {name}")))
        found = await postgresql_owner.read(lambda connection: health_system.queues_and_history(connection, "test"))
        assert [breach.deduplication_key for breach in found] == ["partition_missing:executions"]
    finally:
        await postgresql_owner.tx(partitions.ensure_ahead)
    assert not await postgresql_owner.read(partitions.missing)


async def test_a_monitor_tells_once_of_a_week_that_is_missing_and_of_its_return(
    postgresql_owner: Database, clock: StoreClock, world: RealWorld
) -> None:
    telling = replace(NotificationSettings.of(Settings(), world), routes=[Route("slack", name="ops")])

    async def turn() -> list[str]:
        clock.advance(60)
        await Monitor(postgresql_owner, Signals(world), telling, environment="weeks", world=world).run_once()
        told = await postgresql_owner.read(lambda connection: notifications.latest(connection, Scope("weeks")))
        of_weeks = [item.message for item in told[::-1] if item.message.data["rule"] == "partition_missing"]
        return [f"{message.severity}: {message.title}" for message in of_weeks]

    await turn()
    instant = await postgresql_owner.read(present_instant)
    next_week = instant + timedelta(weeks=1)
    name = f"mainspring.executions_{next_week - timedelta(days=next_week.weekday()):%Y%m%d}"
    try:
        await postgresql_owner.tx(lambda connection: connection.execute(sa.text(f"drop table {name}")))
        assert await turn() == ["critical: the history has no partition for what comes next"]
        assert len(await turn()) == 1
    finally:
        await postgresql_owner.tx(partitions.ensure_ahead)
    assert (await turn())[1:] == ["info: Over: the history has no partition for what comes next"]


async def test_a_paused_job_that_is_run_by_hand_and_fails_is_told(watch: Watch) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.clockwork.change("hourly", paused_at=await watch.clockwork.now(), paused_reason="the data moves")
    await watch.turn()
    await watch.run_now(*[Status.FAILED] * 3, name="hourly")
    await watch.turn()
    assert await watch.state("hourly") == "paused"
    assert list(await watch.alerts()) == ["consecutive_failures:hourly"]


async def test_each_job_is_looked_at_now_and_then_whatever_happened(watch: Watch, lab: Lab) -> None:
    past_the_hour = (await watch.clockwork.now()).minute
    watch.clockwork.clock.advance((65 - past_the_hour) % 60 * 60)  # no hour ends while this looks
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    watch.clockwork.clock.advance(5)
    await watch.turn()
    before = await watch.health("hourly")
    forget = sa.update(job_health).values(look_at=None, state="healthy")
    await lab.database.tx(lambda connection: connection.execute(forget))
    for minutes in (9, 2):
        watch.clockwork.clock.advance(minutes * 60)
        await watch.turn(longest_silence=HOUR)
        assert (await watch.state("hourly") == "unknown") is (minutes == 2)
    assert (await watch.health("hourly")).evaluated_at > before.evaluated_at


async def test_jobs_are_seen_in_portions_and_all_of_them(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(*(JobDefinition(f"job-{number}") for number in range(health_look.MOST_JOBS + 1)))
    turns = [await watch.turn(), await watch.turn()]
    assert [turn.again_in == 0.0 for turn in turns] == [True, False]
    assert len(await lab.database.read(lambda connection: health.find(connection, "test"))) == health_look.MOST_JOBS + 1


async def test_what_an_admin_set_counts_and_not_what_code_says(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(HOURLY)
    await watch.turn()
    override = '{"thresholds": {"consecutive_failures": 1, "staleness": 120.0}}'
    change = sa.update(definitions).values(override=override, updated_at=store_now())
    watch.clockwork.clock.advance(5)
    await lab.database.tx(lambda connection: connection.execute(change))
    await watch.turn()
    expected = (await watch.health("hourly")).health.stale_at
    assert expected is not None
    assert (expected.minute, expected.second) == (2, 0)
    await watch.run_now(Status.FAILED, name="hourly")
    await watch.turn()
    assert list(await watch.alerts()) == ["consecutive_failures:hourly"]
