"""Figures about a job's runs follow from its history, and count nothing that says nothing about the job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random  # noqa: TID251 - from a seed
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Progress, Status
from mainspring.store.analytics import job_statistics, rollups
from mainspring.store.analytics.job_statistics import JobStatistics, JobSummary
from mainspring.store.engine.dialect import present_instant
from mainspring.store.queue.progress_reports import Report, write
from mainspring.store.tables import executions
from tests.store.test_cron_run_pages import ended_row
from tests.store.test_cron_run_pages import write as write_history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.store.analytics.rollup_rows import Rollup
    from tests.store.conftest import Lab, StoreClock

MONTH = timedelta(days=30)


async def run(lab: Lab, status: Status = Status.SUCCEEDED, *, duration_ms: int = 100, items: int = 0) -> None:
    await lab.enqueue_one()
    [claimed] = await lab.claim()
    if items:
        report = Report(claimed.id, claimed.fence, Progress(items_processed=items))
        await lab.database.tx(lambda connection: write(connection, reports=[report]))
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


async def test_figures_from_roll_ups_are_those_of_the_runs_and_read_little_of_history(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = await lab.database.read(present_instant)
    chance = Random(3)
    rows = [
        ended_row(
            lab,
            now - timedelta(minutes=chance.uniform(0, 4 * 1440)),
            number,
            job_name=chance.choice(["job", "other"]),
            status=chance.choice(["succeeded", "succeeded", "failed", "cancelled"]),
            duration_ms=chance.randrange(5_000),
            items_processed=2,
        )
        for number in range(1_500)
    ]
    await write_history(lab, [row | {"completed_at": row["started_at"]} for row in rows])
    span = timedelta(days=3)
    counted = await figures(lab, span=span)
    while (await lab.database.tx(lambda connection: rollups.roll(connection, lab.environment))).more:
        pass
    spans: list[tuple[datetime, datetime]] = []

    def compute(
        connection: sa.Connection, environment: str, start: datetime, end: datetime, names: Sequence[str]
    ) -> list[Rollup]:
        spans.append((start, end))
        return computed(connection, environment, start, end, names)

    computed = rollups.compute
    monkeypatch.setattr(rollups, "compute", compute)
    rolled = await figures(lab, span=span)
    assert counted.p95_duration_ms is not None
    assert rolled.p95_duration_ms == pytest.approx(counted.p95_duration_ms, rel=0.05)
    assert replace(rolled, p95_duration_ms=None) == replace(counted, p95_duration_ms=None)
    assert sum((end - start for start, end in spans), timedelta()) < timedelta(minutes=20)


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
