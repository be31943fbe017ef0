"""How much waits: what could start, for how long it could have, and what is not delivered."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.store.monitoring.depths import Depths, depths
from mainspring.store.tables import alerts

if TYPE_CHECKING:
    from tests.store.conftest import Lab, StoreClock


async def depths_of(lab: Lab, environment: str | None = None) -> Depths:
    return await lab.database.read(lambda connection: depths(connection, environment or lab.environment))


async def test_nothing_waits_in_an_empty_store(lab: Lab) -> None:
    assert await depths_of(lab) == Depths(queued={}, oldest_seconds={}, outbox=0, alerts={}, held_back={}, held_jobs={})


async def test_what_is_ready_or_has_no_room_is_counted_by_queue(lab: Lab) -> None:
    await lab.enqueue(*(lab.new(limit_key="mail", limit_max=1, queue="mail") for _ in range(3)))
    await lab.enqueue(lab.new(queue="web", organization_id="acme"), lab.new(queue="web", organization_id="globex"))
    assert (await depths_of(lab)).queued == {"mail": 3, "web": 2}
    assert (await depths_of(lab, "elsewhere")).queued == {}


async def test_open_alerts_are_counted_by_severity_until_they_are_resolved(lab: Lab) -> None:
    now = lab.world.now()

    def row(key: str, severity: str, environment: str = lab.environment, **more: object) -> dict[str, object]:
        named = {"id": lab.world.new_id(), "environment": environment, "deduplication_key": key, "severity": severity}
        return {**named, "kind": "staleness", "opened_at": now, "last_seen_at": now, "resolved_at": None} | more

    rows = [row("a", "error"), row("b", "error"), row("c", "warning"), row("d", "error", resolved_at=now)]
    rows.append(row("a", "critical", "elsewhere"))
    await lab.database.tx(lambda connection: connection.execute(sa.insert(alerts), rows))
    assert (await depths_of(lab)).alerts == {"error": 2, "warning": 1}


async def test_what_is_not_due_runs_or_waits_for_others_is_not(lab: Lab) -> None:
    await lab.enqueue_one(run_at=lab.world.now() + timedelta(hours=1))
    await lab.enqueue_one()
    running = await lab.claim_one()
    await lab.enqueue_one(depends_on=(running.id,))
    assert (await depths_of(lab)).queued == {}


async def test_the_oldest_is_as_old_as_its_chance_to_start(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue_one()
    clock.advance(90)
    await lab.enqueue_one()
    [seconds] = (await depths_of(lab)).oldest_seconds.values()
    assert seconds == pytest.approx(90, abs=10)
