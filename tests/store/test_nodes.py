"""Nodes as people see them: who runs what, who was lost with what, and that a draining one claims nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from mainspring.control.nodes import NodeCommands, NodeNotFoundError
from mainspring.domain.access import Actor, ActorKind, Role, Scope
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.store.coordination import cluster, dead_nodes, nodes
from mainspring.store.engine.signals import Signals
from mainspring.store.queue.claim_looks import ClaimLooks
from tests.audited_things import audit_trail
from tests.store.audit_trail import KEY, ROOT

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.coordination.nodes import StoredNode
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import Lab, StoreClock


@pytest.fixture
def commands(database: Database, world: RealWorld) -> NodeCommands:
    return NodeCommands(database, Audit(database, world, KEY), Signals(world))


async def find(lab: Lab) -> dict[str, StoredNode]:
    found = await lab.database.read(lambda connection: nodes.find(connection, lab.environment))
    return {node.name: node for node in found}


async def may_claim(lab: Lab, node_id: UUID) -> bool:
    seen = await lab.database.read(
        lambda connection: ClaimLooks(lab.environment, ["default"]).look(connection, node_id)
    )
    return seen.may_claim


async def test_a_node_is_told_with_what_it_runs_and_how_long_it_is_silent(lab: Lab, clock: StoreClock) -> None:
    node_id = await lab.register_node(name="one")
    await lab.register_node(name="two")
    await lab.enqueue(lab.new(queue="default"), lab.new(queue="default"))
    claimed = await lab.claim(node_id=node_id)
    clock.advance(7)
    found = await find(lab)
    assert {run.id for run in found["one"].running} == {item.id for item in claimed}
    assert (found["one"].host, found["one"].slots, found["one"].roles) == ("host", 10, ["worker"])
    assert found["one"].heartbeat_seconds == pytest.approx(7, abs=5)
    assert (found["two"].running, found["two"].draining, found["two"].lost_at) == ((), None, None)


async def test_a_node_that_stopped_in_good_order_is_gone(lab: Lab) -> None:
    node_id = await lab.register_node()
    await lab.database.tx(lambda connection: cluster.leave(connection, node_id))
    assert await find(lab) == {}


async def test_a_lost_node_stays_for_a_day_with_what_it_ran(lab: Lab, clock: StoreClock) -> None:
    node_id = await lab.register_node(lease_seconds=15)
    again, poisoned = await lab.enqueue(lab.new(), lab.new(fail_when_lost=True))
    await lab.claim(node_id=node_id)
    clock.advance(20)
    await lab.database.tx(dead_nodes.bury)
    await lab.database.tx(dead_nodes.rescue)
    lost = (await find(lab))["node"]
    assert lost.lost_at is not None
    assert set(lost.orphaned) == {again, poisoned}
    assert lost.running == ()
    clock.advance(24 * 3600)
    assert await find(lab) == {}


async def test_a_draining_node_claims_nothing_until_it_is_resumed(lab: Lab, commands: NodeCommands) -> None:
    node_id, other = await lab.register_node(name="one"), await lab.register_node(name="two")
    await commands.drain(ROOT, "one", reason="new kernel")
    assert not await may_claim(lab, node_id)
    assert await may_claim(lab, other)
    draining = (await find(lab))["one"].draining
    assert draining is not None
    assert (draining.by, draining.reason) == (ROOT.subject, "new kernel")
    await commands.drain(ROOT, "one")  # again: nothing changes, nothing is written
    await commands.resume(ROOT, "one")
    assert await may_claim(lab, node_id)
    assert (await find(lab))["one"].draining is None
    entries = await lab.database.read(lambda connection: audit_trail(connection, Scope("test"), target_id="one"))
    assert [(entry.action, orjson.loads(entry.after or "0")) for entry, _mac in entries] == [
        ("node.resume", {"draining": False}),
        ("node.drain", {"draining": True}),
    ]


async def test_only_staff_who_may_write_drain_a_node_that_is_there(lab: Lab, commands: NodeCommands) -> None:
    node_id = await lab.register_node(name="one")
    viewer = Actor("eve", ActorKind.USER, "test", permissions=Role.VIEWER.permissions)
    with pytest.raises(PermissionDeniedError):
        await commands.drain(viewer, "one")
    with pytest.raises(NodeNotFoundError, match="no node 'three'"):
        await commands.drain(ROOT, "three")
    assert await may_claim(lab, node_id)
