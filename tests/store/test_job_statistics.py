"""Figures about a job's runs follow from its history, and count nothing that says nothing about the job."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Progress, Status
from mainspring.store.analytics import job_statistics
from mainspring.store.analytics.job_statistics import JobStatistics, JobSummary
from mainspring.store.queue.journal import Report, write
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from tests.store.conftest import Lab, StoreClock

MONTH = timedelta(days=30)


async def run(lab: Lab, status: Status = Status.SUCCEEDED, *, duration_ms: int = 100, items: int = 0) -> None:
    await lab.enqueue_one()
    [claimed] = await lab.claim()
    if items:
        report = Report(claimed.id, claimed.fence, Progress(items_processed=items))
        await lab.database.tx(lambda connection: write(connection, reports=[report], beats=(), lines=()))
    await lab.finish(lab.end(claimed, status, duration_ms=duration_ms))


async def figures(lab: Lab, name: str = "job", span: timedelta = MONTH) -> JobStatistics:
    return await lab.database.read(lambda connection: job_statistics.of_job(connection, lab.environment, name, span))


async def summary(lab: Lab, name: str = "job") -> JobSummary:
    found = await lab.database.read(
        lambda connection: job_statistics.summaries(connection, lab.environment, [name, "other"], MONTH)
    )
    assert found["other"] == JobSummary()
    return found[name]


async def test_of_a_job_that_never_ran_nothing_is_known(lab: Lab) -> None:
    assert await figures(lab) == JobStatistics(0, 0, 0, None, None, 0)
    assert (await figures(lab)).success_rate is None
    assert await summary(lab) == JobSummary()


async def test_rates_durations_and_items_are_those_of_the_runs_that_ended_of_themselves(lab: Lab) -> None:
    for duration_ms in range(100, 2100, 100):
        await run(lab, duration_ms=duration_ms, items=3)
    for _ in range(5):
        await run(lab, Status.FAILED, duration_ms=50)
    await run(lab, Status.CANCELLED, duration_ms=90_000)
    found = await figures(lab)
    assert (found.total, found.succeeded, found.failed, found.success_rate) == (25, 20, 5, 0.8)
    assert found.average_duration_ms == round((sum(range(100, 2100, 100)) + 250) / 25)
    assert found.p95_duration_ms == 1900  # the 24th of 25
    assert found.items_processed == 60
    shown = await summary(lab)
    assert (shown.success_rate, shown.average_duration_ms) == (0.8, found.average_duration_ms)


async def test_only_the_span_counts(lab: Lab, clock: StoreClock) -> None:
    await run(lab, Status.FAILED)
    clock.advance(timedelta(days=8).total_seconds())
    await run(lab)
    assert (await figures(lab, span=timedelta(days=7))).success_rate == 1.0
    assert (await figures(lab)).success_rate == 0.5


async def test_other_jobs_and_environments_do_not_count(lab: Lab) -> None:
    await run(lab)
    assert (await figures(lab, "other")).total == 0
    await lab.database.tx(lambda connection: connection.execute(sa.update(executions).values(environment="elsewhere")))
    assert (await figures(lab)).total == 0


async def test_a_summary_tells_the_last_run_and_whether_one_is_under_way(lab: Lab) -> None:
    await run(lab)
    await run(lab, Status.FAILED, duration_ms=70)
    shown = await summary(lab)
    assert shown.last_run is not None
    assert (shown.last_run.status, shown.last_run.duration_ms, shown.is_running) == (Status.FAILED, 70, False)
    await lab.enqueue_one()
    assert not (await summary(lab)).is_running  # queued only
    await lab.claim()
    assert (await summary(lab)).is_running
