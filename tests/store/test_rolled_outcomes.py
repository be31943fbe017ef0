"""Counts of long spans come from roll-ups, and say the same as a count of all history."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random  # noqa: TID251 - from a seed
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.store.analytics import outcomes, rolled_outcomes, rollups
from mainspring.store.analytics.outcomes import OutcomeCounts
from mainspring.store.engine.dialect import present_instant
from mainspring.store.tables import executions
from mainspring.world import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.store.conftest import Lab

EVERYBODY = Scope("test")
SPAN = timedelta(hours=48)
BUCKETS = 96


async def fill(lab: Lab) -> datetime:
    """Write runs that ended within three days, and return the present instant."""
    chance = Random(7)
    now = await lab.database.read(present_instant)

    def row(number: int) -> dict[str, object]:
        ended = now - timedelta(seconds=chance.uniform(0, 3 * 86_400))
        return {
            "id": uuid7(int(ended.timestamp() * 1000), number), "environment": "test", "job_name": chance.choice("ab"),
            "queue": "default", "trigger": "cron", "status": chance.choice(["succeeded", "failed", "cancelled"]),
            "created_at": ended, "started_at": ended, "completed_at": ended, "updated_at": ended, "duration_ms": 5,
        }  # fmt: skip

    rows = [row(number) for number in range(900)]
    await lab.database.tx(lambda connection: connection.execute(sa.insert(executions), rows))
    return now


def total(counts: Sequence[OutcomeCounts]) -> OutcomeCounts:
    whole = OutcomeCounts()
    for count in counts:
        whole.add(count)
    return whole


async def test_both_halves_say_the_same_as_history_to_the_last_run(lab: Lab) -> None:
    now = await fill(lab)
    while (await lab.database.tx(lambda connection: rollups.roll(connection, "test"))).more:
        pass

    def read(connection: sa.Connection) -> tuple[list[OutcomeCounts], list[OutcomeCounts]]:
        counted = outcomes.over_time(connection, EVERYBODY, SPAN, BUCKETS, now)
        return counted, rolled_outcomes.over_time(connection, EVERYBODY, SPAN, BUCKETS, now)

    counted, rolled = await lab.database.read(read)
    half = BUCKETS // 2
    assert total(rolled[:half]) == total(counted[:half])
    assert total(rolled[half:]) == total(counted[half:])
    assert total(counted).total > 500
    away = sum(abs(one.total - other.total) for one, other in zip(rolled, counted, strict=True))
    assert away < total(counted).total / 4  # up to five minutes of a bar of thirty may stand beside it


async def test_what_roll_ups_know_is_not_counted_again_in_history(lab: Lab) -> None:
    await fill(lab)
    while (await lab.database.tx(lambda connection: rollups.roll(connection, "test"))).more:
        pass
    seen: list[Sequence[tuple[datetime, datetime]]] = []

    def watched(*arguments: object) -> list[OutcomeCounts]:
        seen.append(arguments[5])  # type: ignore[arg-type]
        return [OutcomeCounts() for _ in range(BUCKETS)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "over_time", watched)
        await lab.database.read(lambda connection: rolled_outcomes.over_time(connection, EVERYBODY, SPAN, BUCKETS))
    assert sum((end - start for start, end in seen[0]), timedelta()) <= timedelta(minutes=20)


@pytest.mark.parametrize("scope", [Scope("test", "acme"), Scope("test", "acme", "ada")])
async def test_an_organization_is_counted_from_its_own_runs(lab: Lab, scope: Scope) -> None:
    await fill(lab)
    await lab.database.tx(lambda connection: rollups.roll(connection, "test"))
    counts = await lab.database.read(lambda connection: rolled_outcomes.over_time(connection, scope, SPAN, BUCKETS))
    assert total(counts).total == 0
