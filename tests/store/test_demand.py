"""What there is to do: what could start, what runs, and what the nodes that claim say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.store.coordination import cluster, nodes
from mainspring.store.coordination.cluster import Occupancy
from mainspring.store.coordination.demand import demand
from mainspring.store.tables import organizations, queues

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.cluster_size import Demand
    from tests.store.conftest import Lab, StoreClock


async def demand_of(lab: Lab, environment: str | None = None) -> Demand:
    return await lab.database.read(
        lambda connection: demand(connection, environment or lab.environment, organization_limit=5)
    )


async def beat(lab: Lab, node_id: UUID, said: Occupancy) -> None:
    await lab.database.tx(lambda connection: cluster.beat(connection, node_id, said, lease_seconds=15.0, offset_ms=0))


async def test_what_waits_for_room_counts_and_what_a_limit_holds_back_does_not(lab: Lab) -> None:
    await lab.enqueue(*(lab.new(queue="web") for _ in range(3)))
    await lab.enqueue(*(lab.new(queue="web", organization_id="acme") for _ in range(9)))
    await lab.enqueue(*(lab.new(queue="web", organization_id="big") for _ in range(9)))
    await lab.enqueue(*(lab.new(queue="mail") for _ in range(9)))
    await lab.enqueue(*(lab.new(queue="shut") for _ in range(9)))
    await lab.enqueue(*(lab.new(limit_key="one", limit_max=1) for _ in range(4)))
    named = {"environment": lab.environment}
    limited: list[dict[str, Any]] = [
        {"name": "mail", "max_running": 4, "paused_at": None},
        {"name": "shut", "max_running": None, "paused_at": lab.world.now()},
    ]
    await lab.database.tx(lambda connection: connection.execute(sa.insert(queues), [named | row for row in limited]))
    await lab.database.tx(
        lambda connection: connection.execute(
            sa.update(organizations).where(organizations.c.id == "big").values(max_running=7)
        )
    )
    found = await demand_of(lab)
    assert (found.waiting, found.running) == (3 + 5 + 7 + 4 + 1, 0)
    assert (await demand_of(lab, "elsewhere")).waiting == 0


async def test_what_runs_takes_of_the_room(lab: Lab) -> None:
    await lab.enqueue(*(lab.new(organization_id="acme") for _ in range(9)))
    node = await lab.register_node()
    assert len(await lab.claim(node_id=node, slots=3)) == 3
    found = await demand_of(lab)
    assert (found.waiting, found.running) == (2, 3)


async def test_nodes_that_claim_say_how_busy_they_are(lab: Lab, clock: StoreClock) -> None:
    lost = await lab.register_node(name="lost", lease_seconds=1.0)
    await lab.database.tx(
        lambda connection: cluster.beat(
            connection, lost, Occupancy(slots=9, busy_share=1.0), lease_seconds=1.0, offset_ms=0
        )
    )
    clock.advance(2)
    first, second, draining = [await lab.register_node(name=name) for name in ("a", "b", "c")]
    await beat(lab, first, Occupancy(slots=12, busy_share=0.5, ends_per_second=4.0))
    await beat(lab, second, Occupancy(busy_share=0.25, ends_per_second=1.0))
    await beat(lab, draining, Occupancy(busy_share=1.0, ends_per_second=9.0))
    await lab.database.tx(lambda connection: nodes.drain(connection, draining, by="ada", reason=None))
    found = await demand_of(lab)
    assert (found.nodes, found.busy, found.ends_per_second) == (2, pytest.approx(0.75), pytest.approx(5.0))


async def test_a_beat_says_how_many_slots_there_are_now_and_what_memory_is_held(lab: Lab) -> None:
    node = await lab.register_node()
    [before] = await lab.database.read(lambda connection: nodes.find(connection, lab.environment))
    await beat(lab, node, Occupancy())
    [silent] = await lab.database.read(lambda connection: nodes.find(connection, lab.environment))
    await beat(lab, node, Occupancy(slots=77, busy_share=0.5, memory_bytes=80_000_000))
    [after] = await lab.database.read(lambda connection: nodes.find(connection, lab.environment))
    assert (silent.slots, silent.memory_bytes) == (before.slots, None)
    assert (after.slots, after.busy_share, after.memory_bytes) == (77, 0.5, 80_000_000)
