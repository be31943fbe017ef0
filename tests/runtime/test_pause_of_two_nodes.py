"""The incident switch with two nodes: what one of them was told holds on the other from that instant on."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring import Every, Mainspring
from mainspring.control.pauses import PauseCommands
from mainspring.domain.access import Actor, Scope
from mainspring.domain.execution import Execution, Trigger
from mainspring.runtime.conditions import Conditions
from mainspring.runtime.scheduler import Scheduler
from mainspring.security.audit import Audit
from mainspring.store.jobs import registration
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter
from mainspring.store.scheduling import ticks
from mainspring.store.scheduling.firing import Firing
from mainspring.testing.manual_clock import Clock, ManualWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

START = datetime(2027, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ADA = Actor.at_terminal("dev", "ada")
JOBS = ("often", "rarely")


@dataclass
class Node:
    """A node that schedules, with a connection of its own."""

    app: Mainspring
    scheduler: Scheduler

    @property
    def pauses(self) -> PauseCommands:
        """The switch, as this node has it."""
        opened, world = self.app.opened, self.app.world
        audit = Audit(opened.database, world, b"a key of 32 bytes for this test.")
        return PauseCommands(
            database=opened.database, audit=audit, signals=opened.signals, world=world, environment="dev"
        )


@dataclass
class Cluster:
    """Two nodes on one store and one clock."""

    clock: Clock
    nodes: list[Node]

    async def let_pass(self, minutes: int) -> int:
        """Let time pass; at every minute both nodes look at once. Return how many executions they fired."""
        before = len(await self.started())
        for _ in range(minutes):
            self.clock.advance(MINUTE)
            await asyncio.gather(*(node.scheduler.run_once() for node in self.nodes))
        return len(await self.started()) - before

    async def started(self) -> list[Execution]:
        """Return what schedules have started, as the second node sees it."""
        found = await self.nodes[1].app.opened.database.read(
            lambda connection: executions.find(connection, Scope("dev"), Filter(), most=1_000)
        )
        return [run for run in found if run.trigger is Trigger.INTERVAL]

    async def told(self, name: str) -> list[str]:
        """Return what became of each due instant."""
        found = await self.nodes[0].app.opened.database.read(lambda connection: ticks.find(connection, "dev", name))
        return [(item.tick.reason or item.tick.outcome).value for item in reversed(found)]


@asynccontextmanager
async def node(path: Path, clock: Clock) -> AsyncGenerator[Node]:
    app = Mainspring(world=ManualWorld(clock), database_url=f"sqlite:///{path}", environment="dev")

    @app.job("often", schedule=Every(minutes=1), overlap="allow")
    async def often() -> None: ...

    @app.job("rarely", schedule=Every(minutes=3), overlap="allow")
    async def rarely() -> None: ...

    async with app.connected():
        firing, database = Firing.by(app.world, "dev"), app.opened.database
        mine = [job for job in app.registry if job.definition.name in JOBS]
        await database.tx(lambda connection: registration.register(connection, firing, mine))
        conditions = Conditions(app.registry, app.world)
        yield Node(
            app,
            Scheduler(
                database=database,
                signals=app.opened.signals,
                registry=app.registry,
                conditions=conditions,
                environment="dev",
                world=app.world,
            ),
        )
        conditions.close()


@pytest.fixture(scope="module")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the present version, to copy."""
    path = tmp_path_factory.mktemp("paused") / "store.db"

    async def migrate() -> None:
        async with Mainspring(database_url=f"sqlite:///{path}").connected():
            pass

    asyncio.run(migrate())
    return path


@pytest.fixture
async def cluster(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Cluster]:
    shutil.copy(migrated_file, tmp_path / "store.db")
    clock = Clock(START)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node(tmp_path / "store.db", clock)) for _ in range(2)]
        yield Cluster(clock, nodes)


async def test_nothing_fires_on_any_node_and_each_goes_on_from_the_next_instant(cluster: Cluster) -> None:
    first, second = cluster.nodes
    assert await cluster.let_pass(3) == 4
    await first.pauses.pause_all(ADA, reason="the disk is full")
    assert await cluster.let_pass(6) == 0
    assert len(await cluster.started()) == 4
    await second.pauses.resume_all(ADA)
    assert await cluster.let_pass(3) == 4
    assert await cluster.told("often") == ["fired"] * 3 + ["all_paused"] * 6 + ["fired"] * 3
    assert await cluster.told("rarely") == ["fired"] + ["all_paused"] * 2 + ["fired"]
    ids = [(run.job_name, run.scheduled_for) for run in await cluster.started()]
    assert len(ids) == len(set(ids)) == 8


async def test_a_pause_that_ends_by_itself_ends_on_both(cluster: Cluster) -> None:
    await cluster.nodes[0].pauses.pause_all(ADA, until=START + timedelta(minutes=4, seconds=30))
    assert await cluster.let_pass(4) == 0
    assert await cluster.let_pass(2) == 3
    assert await cluster.told("often") == ["all_paused"] * 4 + ["fired"] * 2


async def test_who_comes_to_a_cluster_that_is_paused_fires_nothing_either(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.nodes[0].pauses.pause_all(ADA)
    async with node(tmp_path / "store.db", cluster.clock) as late:
        cluster.nodes.append(late)
        assert await cluster.let_pass(3) == 0
        await cluster.nodes[1].pauses.resume_all(ADA)
        assert await cluster.let_pass(3) == 4
