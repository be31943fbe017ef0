"""Roll-ups say what the history says, whoever computes them, how often, and however late a transaction commits."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.execution import FINAL
from mainspring.domain.histogram import RELATIVE_ERROR, Histogram, bucket_of
from mainspring.runtime.rolling_up import ROLL_SECONDS, RollingUp
from mainspring.store.analytics import rollups
from mainspring.store.analytics.rollup_rows import Rollup, covering
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import executions
from mainspring.store.tables import rollups as table
from mainspring.world import RealWorld
from tests.store.test_cron_run_pages import ended_row, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.store.conftest import Lab, StoreClock


async def present(lab: Lab) -> datetime:
    return await lab.scalar(sa.select(store_now()))


async def roll_all(lab: Lab) -> int:
    turns = 0
    while True:
        turns += 1
        rolled = await lab.database.tx(lambda connection: rollups.roll(connection, lab.environment))
        if not rolled.more:
            return turns


async def some_ends(lab: Lab, *, hours: float, count: int, until: datetime) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(count):
        completed_at = until - timedelta(hours=hours) * ((number * 7919 % count) / count)
        status = sorted(FINAL)[number % 4].value
        ran = status in {"succeeded", "failed"}
        rows.append(
            ended_row(
                lab,
                completed_at - timedelta(minutes=2),
                number,
                job_name=("hourly", "nightly")[number % 3 == 0],
                status=status,
                completed_at=completed_at,
                started_at=completed_at - timedelta(seconds=number % 50) if ran else None,
                duration_ms=number * 37 % 90_000 if ran else None,
                items_processed=number,
                items_failed=number % 5,
            )
        )
    await write(lab, rows)
    return rows


def counted(rows: Sequence[dict[str, Any]], start: datetime) -> dict[str, dict[str, int]]:
    """Count as roll-ups do, row by row."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["completed_at"] < start:
            continue
        of_job = found.setdefault(row["job_name"], dict.fromkeys(Rollup.NUMBERS, 0))
        of_job[row["status"]] += 1
        of_job["items_processed"] += row["items_processed"]
        of_job["items_failed"] += row["items_failed"]
        if row["duration_ms"] is not None:
            of_job["duration_total_ms"] += row["duration_ms"]
            of_job["duration_max_ms"] = max(of_job["duration_max_ms"], row["duration_ms"])
            waited = row["started_at"] - row["created_at"]
            of_job["waiting_total_ms"] += waited // timedelta(milliseconds=1)
    return found


async def added_up(lab: Lab, start: datetime, end: datetime) -> dict[str, Rollup]:
    rows = await lab.database.read(lambda connection: covering(connection, lab.environment, start, end))
    found: dict[str, Rollup] = {}
    for row in rows:
        found.setdefault(row.job_name, Rollup(5, start, row.job_name)).add(row)
    return found


@pytest.mark.parametrize("hours", [0.5, 75.0])
async def test_roll_ups_are_the_direct_count(lab: Lab, hours: float) -> None:
    now = await present(lab)
    rows = await some_ends(lab, hours=hours, count=400, until=now)
    await roll_all(lab)
    start = datetime.fromtimestamp((now - timedelta(hours=hours)).timestamp() // 300 * 300, UTC)
    found = await added_up(lab, start, now + timedelta(minutes=1))
    expected = counted(rows, start)
    assert {name: {key: getattr(row, key) for key in Rollup.NUMBERS} for name, row in found.items()} == expected
    durations = [row["duration_ms"] for row in rows if row["job_name"] == "hourly" and row["duration_ms"] is not None]
    buckets: dict[int, int] = {}
    for duration in durations:
        buckets[bucket_of(duration)] = buckets.get(bucket_of(duration), 0) + 1
    assert dict(found["hourly"].durations.counts) == buckets, "the database and Python agree on every bucket"
    assert found["hourly"].waits.total == len(durations)


async def test_computing_again_changes_nothing(lab: Lab) -> None:
    now = await present(lab)
    await some_ends(lab, hours=1, count=60, until=now)
    await roll_all(lab)
    before = await lab.database.read(lambda connection: connection.execute(sa.select(table)).all())
    await roll_all(lab)
    after = await lab.database.read(lambda connection: connection.execute(sa.select(table)).all())
    assert sorted(before) == sorted(after)


async def test_what_becomes_visible_late_is_counted(lab: Lab, clock: StoreClock) -> None:
    clock.advance(310 - (await present(lab)).timestamp() % 300)  # just after the end of a bucket
    now = await present(lab)
    await some_ends(lab, hours=0.1, count=10, until=now)
    await roll_all(lab)
    before = now - timedelta(seconds=60)
    await write(lab, [ended_row(lab, before, 9_999, job_name="late", completed_at=before)])
    clock.advance(120)
    await roll_all(lab)
    assert (await added_up(lab, now - timedelta(hours=1), now + timedelta(hours=1)))["late"].succeeded == 1


class PatientWorld(RealWorld):
    """A world in which a test lets time pass."""

    passed = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        return super().monotonic() + self.passed


async def test_a_turn_is_asked_for_only_when_something_has_ended(lab: Lab, clock: StoreClock) -> None:
    world = PatientWorld()
    loop = RollingUp(lab.database, environment=lab.environment, retention=timedelta(days=90), world=world)
    while (await loop.run_once()).again_in == 0.0:
        pass
    clock.advance(60)
    world.passed += 600
    assert (await loop.run_once()).did == 0
    assert not await lab.database.read(lambda connection: rollups.is_anything_new(connection, lab.environment))
    await write(lab, [ended_row(lab, await present(lab), 1, completed_at=await present(lab))])
    resting = await loop.run_once()
    assert resting.did == 0, "a busy node is woken all the time"
    assert resting.again_in is not None
    assert resting.again_in <= ROLL_SECONDS
    world.passed += 600
    turn = await loop.run_once()
    assert turn.did == 1
    assert turn.again_in is not None
    assert turn.again_in >= ROLL_SECONDS
    clock.advance(601)
    assert await lab.database.read(lambda connection: rollups.is_anything_new(connection, lab.environment)), "finality"


async def test_another_environment_has_its_own(lab: Lab) -> None:
    now = await present(lab)
    await write(lab, [ended_row(lab, now, 1, environment="prod", completed_at=now)])
    await roll_all(lab)
    assert await added_up(lab, now - timedelta(hours=1), now + timedelta(hours=1)) == {}


async def test_days_outlive_the_history(lab: Lab, clock: StoreClock) -> None:
    now = await present(lab)
    await some_ends(lab, hours=30, count=50, until=now)
    await roll_all(lab)
    clock.advance(3 * 86_400)
    await roll_all(lab)
    month, year = timedelta(hours=1), timedelta(days=365)
    await lab.database.tx(
        lambda connection: rollups.prune(connection, lab.environment, older_than=month, days_older_than=year)
    )
    await lab.database.tx(lambda connection: connection.execute(sa.delete(executions)))
    day = datetime.combine(now.date(), datetime.min.time(), UTC)
    found = await added_up(lab, day - timedelta(days=2), day + timedelta(days=1))
    assert sum(row.succeeded + row.failed + row.cancelled + row.skipped for row in found.values()) == 50
    minutes = await lab.scalar(sa.select(sa.func.min(table.c.minutes)))
    assert minutes == 1440


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_within_five_percent(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(Histogram({bucket_of(value): 1}))
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    told = histogram.percentile(share)
    assert told is not None
    assert abs(told - exact) <= RELATIVE_ERROR * exact
    assert Histogram.read(histogram.text()).counts == histogram.counts


def test_an_empty_histogram_has_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None
