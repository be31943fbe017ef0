"""No job fails, stalls or goes silent unnoticed: every kind of fault has its alert in time, and quiet has none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring import Every, JobResult, Mainspring, Thresholds, testing
from mainspring.store.tables import alerts
from tests.runtime.fault_kinds import BOUND, FAULTS, MONDAY, Fault

if TYPE_CHECKING:
    from mainspring.testing.application_kit import Kit

LEAST_KINDS = 30


def application(fault: Fault) -> Mainspring:
    app = Mainspring(log_level="error")
    app.job("job", schedule=fault.schedule, thresholds=fault.thresholds, **fault.options)(fault.handler)
    return app


def told(kit: Kit) -> list[str]:
    return [alert.deduplication_key for alert in kit.alerts()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
async def test_a_fault_is_told_by_its_own_alert_within_its_bound(fault: Fault) -> None:
    async with testing.kit(application(fault), at=MONDAY) as kit:
        await kit.advance(timedelta(0))  # the monitor sees the job for the first time
        await fault.inject(kit)
        await kit.advance(max(timedelta(0), fault.threshold - timedelta(seconds=1)))
        if fault.threshold:
            assert not [key for key in told(kit) if key.startswith(fault.alert)], "it was told too early"
        await kit.advance(BOUND + timedelta(seconds=1))
        assert [key for key in told(kit) if key.startswith(fault.alert)], f"told: {told(kit)}"


def test_there_are_thirty_kinds_and_more() -> None:
    assert len({fault.name for fault in FAULTS}) >= LEAST_KINDS


async def test_ten_quiet_minutes_have_no_alert() -> None:
    limits = Thresholds(
        execution_time=timedelta(minutes=1), runs_per_hour=70, least_items=1, share_of_usual_items=0.2, anomaly=6,
        trend_days=30,
    )  # fmt: skip
    app = Mainspring(log_level="error")
    for number in range(2):
        app.job(f"quiet-{number}", schedule=Every(timedelta(seconds=30 + number)), thresholds=limits)(
            lambda: JobResult(items_processed=100)
        )
    async with testing.kit(app, at=MONDAY) as kit:
        await kit.advance(timedelta(minutes=10))
        assert len(kit.executions()) > 30
        count = sa.select(sa.func.count()).select_from(alerts)
        assert await app.opened.database.read(lambda connection: connection.execute(count).scalar_one()) == 0
