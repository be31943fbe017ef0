"""What a node looks at before it claims: it may leave statements out for it, and never executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mainspring.control.queues import QueueCommands
from mainspring.security.audit import Audit
from mainspring.store.coordination import dead_nodes
from mainspring.store.engine.signals import Signals
from mainspring.store.queue import claims
from mainspring.store.queue.claim_looks import ClaimLook, ClaimLooks
from tests.store.audit_trail import KEY, ROOT

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import Lab, StoreClock


@pytest.fixture
async def node_id(lab: Lab) -> UUID:
    return await lab.register_node()


@pytest.fixture
def commands(database: Database, world: RealWorld) -> QueueCommands:
    return QueueCommands(database, Audit(database, world, KEY), Signals(world), world)


async def look(lab: Lab, node_id: UUID, *queues: str) -> ClaimLook:
    return await lab.database.read(
        lambda connection: ClaimLooks(lab.environment, queues or ["default"]).look(connection, node_id)
    )


async def test_where_nothing_special_waits_nothing_special_is_seen(lab: Lab, node_id: UUID) -> None:
    await lab.enqueue(lab.new(queue="default"))
    assert await look(lab, node_id) == ClaimLook(may_claim=True, has_limits=False, has_organizations=False)


async def test_ready_executions_of_organizations_are_seen_in_the_queues_that_are_claimed_from(
    lab: Lab, node_id: UUID
) -> None:
    await lab.enqueue(lab.new(organization_id="acme", queue="mail"))
    assert not (await look(lab, node_id)).has_organizations
    assert (await look(lab, node_id, "default", "mail")).has_organizations
    await lab.claim(queues=["mail"])
    assert not (await look(lab, node_id, "default", "mail")).has_organizations


async def test_a_limit_is_seen_in_the_queues_that_are_claimed_from(
    lab: Lab, node_id: UUID, commands: QueueCommands
) -> None:
    await commands.limit(ROOT, "mail", 2)
    assert not (await look(lab, node_id)).has_limits
    assert (await look(lab, node_id, "mail")).has_limits


async def test_a_dead_node_may_not_claim(lab: Lab, node_id: UUID, clock: StoreClock) -> None:
    assert (await look(lab, node_id)).may_claim
    clock.advance(20)
    await lab.database.tx(dead_nodes.bury)
    assert not (await look(lab, node_id)).may_claim


async def test_without_a_look_limits_and_organizations_are_reckoned_with(lab: Lab, commands: QueueCommands) -> None:
    await commands.limit(ROOT, "default", 3)
    await lab.enqueue(*(lab.new(queue="default", organization_id=name) for name in (None, None, "acme", "acme")))
    request = claims.ClaimRequest(lab.environment, lab.node_id, ["job"], [claims.QueueCursor("default")], 5)
    taken = await lab.database.tx(lambda connection: claims.claim(connection, request, 100))
    assert len(taken) == 3
    assert {item.organization_id for item in taken} == {None, "acme"}
