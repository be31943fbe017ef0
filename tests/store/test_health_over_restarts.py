"""The monitor over restarts and outages: what was due in them is held against nobody, and nothing is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.alert import AlertRule
from mainspring.domain.execution import Status
from mainspring.domain.instants import instant_text
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron, Every
from mainspring.domain.thresholds import Thresholds
from tests.store.clockwork import MINUTELY
from tests.store.watch import Watch

if TYPE_CHECKING:
    from tests.store.clockwork import Clockwork
    from tests.store.conftest import Lab


@pytest.fixture
def watch(clockwork: Clockwork) -> Watch:
    return Watch(clockwork)


async def test_what_was_due_while_no_node_was_alive_is_unknown_and_one_notice(watch: Watch) -> None:
    jobs = [JobDefinition(f"job-{number}", schedule=Every(timedelta(minutes=10))) for number in range(20)]
    await watch.clockwork.declare(*jobs)
    await watch.turn()
    await watch.run_now(Status.SUCCEEDED, name="job-3")
    await watch.turn()
    watch.clockwork.clock.advance(timedelta(hours=5).total_seconds())
    await watch.turn()
    (notice,) = (await watch.alerts()).values()
    assert notice.rule is AlertRule.UNWATCHED
    assert "nobody watched for 5 h" in notice.sentence
    assert await watch.state("job-3") == "unknown"
    await watch.pass_time(timedelta(minutes=16))
    assert "unwatched:mainspring" not in await watch.alerts()


async def test_another_outage_soon_after_the_first_is_counted_with_its_own_figures(watch: Watch) -> None:
    await watch.turn()
    for times, hours in ((1, 5), (2, 7)):
        watch.clockwork.clock.advance(timedelta(hours=hours).total_seconds())
        await watch.turn()
        watch.clockwork.clock.advance(5)
        await watch.turn()
        (notice,) = (await watch.alerts()).values()
        assert notice.occurrences == times
        assert notice.sentence.startswith(f"nobody watched for {hours} h, ")


async def test_what_ran_when_all_nodes_were_lost_is_given_time_to_be_taken_back(watch: Watch, lab: Lab) -> None:
    before = await lab.register_node(name="before", lease_seconds=15)
    run = await lab.enqueue_one(job_name="long")
    await lab.claim(names=["long"], node_id=before)
    await watch.turn()
    watch.clockwork.clock.advance(200)
    await lab.register_node(name="after", lease_seconds=10_000)
    await watch.turn()
    key = f"staleness:long/{run}"
    assert {"unwatched:mainspring"} == {found for found in await watch.alerts() if not found.startswith("node_lost")}
    await watch.pass_time(timedelta(seconds=50))
    assert "nobody has taken it back" in (await watch.alerts())[key].sentence
    watch.clockwork.clock.advance(200)
    await watch.turn()
    assert key in await watch.alerts(), "another outage does not end what was found before it"


async def test_a_restart_that_nobody_saw_is_no_fault_of_the_jobs_and_needs_no_word(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(MINUTELY)
    await lab.register_node(name="before", lease_seconds=15)
    await watch.turn()
    await watch.run_now(Status.SUCCEEDED, settling=2)
    await watch.turn()
    watch.clockwork.clock.advance(80)
    await lab.register_node(name="after", lease_seconds=1_000)
    await watch.turn()
    assert (await watch.watched()).unwatched_until is not None
    assert "staleness:minutely" not in await watch.alerts()
    assert "unwatched:mainspring" not in await watch.alerts()
    watch.clockwork.clock.advance(150)
    await watch.turn()
    assert "staleness:minutely" in await watch.alerts()


async def _restart(watch: Watch, lab: Lab, *, lasting: int) -> None:
    watch.clockwork.clock.advance(lasting)
    await lab.register_node(name="after", lease_seconds=10_000)
    await watch.turn()


async def test_a_restart_does_not_forget_what_a_job_had_missed_before_it(watch: Watch, lab: Lab) -> None:
    limits = Thresholds(staleness=timedelta(minutes=5))
    await watch.clockwork.declare(JobDefinition("hourly", schedule=Cron("0 * * * *"), thresholds=limits))
    await lab.register_node(name="before", lease_seconds=15)
    await watch.turn()
    due = (await watch.clockwork.schedule("hourly")).next_run_at
    assert due is not None
    await watch.pass_time(due + timedelta(minutes=2) - await watch.clockwork.now())
    assert await watch.state("hourly") == "late"
    await _restart(watch, lab, lasting=20)
    await watch.pass_time(timedelta(minutes=3))
    assert (await watch.watched()).unwatched_until is not None
    alert = (await watch.alerts())["staleness:hourly"]
    assert alert.figures["dueAt"] == instant_text(due)


async def test_a_stale_job_stays_stale_over_restarts_and_outages_until_it_succeeds(watch: Watch, lab: Lab) -> None:
    limits = Thresholds(staleness=timedelta(minutes=5))
    await watch.clockwork.declare(JobDefinition("hourly", schedule=Cron("0 * * * *"), thresholds=limits))
    await watch.turn()
    await watch.pass_time(timedelta(minutes=66))
    due = (await watch.alerts())["staleness:hourly"].figures["dueAt"]
    for lasting in (20, 600):
        await _restart(watch, lab, lasting=lasting)
        assert (await watch.alerts())["staleness:hourly"].figures["dueAt"] == due
    await watch.run_now(Status.SUCCEEDED, name="hourly", settling=2)
    await watch.turn()
    assert "staleness:hourly" not in await watch.alerts()


async def test_restarts_do_not_give_a_job_without_a_schedule_its_time_anew(watch: Watch, lab: Lab) -> None:
    await watch.clockwork.declare(JobDefinition("asked", thresholds=Thresholds(staleness=timedelta(minutes=5))))
    await lab.register_node(name="before", lease_seconds=15)
    await watch.turn()
    stale_at = (await watch.health("asked")).health.stale_at
    for _ in range(3):
        await _restart(watch, lab, lasting=80)
        assert (await watch.health("asked")).health.stale_at == stale_at
    await _restart(watch, lab, lasting=80)
    assert "staleness:asked" in await watch.alerts()
