"""Nodes that work off skewed backlogs of many organizations while they are killed, for the judge of `fairness_ledger`.

The test of the suite runs a short form of it, `./dev prove fairness` the long one.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

import sqlalchemy as sa

from mainspring import Mainspring
from mainspring.domain.execution import Status, Trigger
from mainspring.domain.retry_decision import MAX_LOST
from mainspring.store.queue import enqueues, organization_limits
from mainspring.store.tables import executions, executions_live
from mainspring.store.tables import nodes as nodes_table
from mainspring.testing.simulation.world import Chance
from tests.cluster.fair_jobs import MOST_OF_A_KEY, RATE, Work, declare
from tests.cluster.fairness_ledger import AGAIN_SECONDS, SINGLE, SINGLE_SECONDS, Asked, Facts, Fall, Verdict, judge
from tests.warm_processes import WarmProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.control.options import EnqueueOptions
    from mainspring.store.engine.database import Connection

PATIENCE_SECONDS: Final = 90.0
LEASE_SECONDS: Final = 2.0
ORGANIZATION_LIMIT: Final = 5
OWN_LIMITS: Final = {"organization-002": 2, "organization-003": 8}
"""What two of the largest have been granted instead."""
_SECRET: Final = "a key that only these tests know, 32 bytes"
_AT_ONCE: Final = 2_000
_KEYS: Final = 4
_OF_EACH_KEY: Final = 12
_AT_A_RATE: Final = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """What the nodes go through.

    Attributes:
        nodes: How many nodes.
        organizations: How many organizations have a backlog.
        largest: The backlog of the largest; that of the nth is smaller by `n ** skew`.
        least: The smallest backlog.
        skew: How steeply backlogs fall.
        seconds: For how long, once all nodes run.
        kill_every: Seconds from one `kill -9` to the next, of a node that runs something. Another one is started in its
            place after `restart_after`, and the next kill waits until that one runs.
        restart_after: Seconds from a kill to the start of another node; what a node costs to start is no part of how
            soon the others take over.
        single_every: Seconds from one organization with a single job to the next.
        single_within: Seconds within which such a job is to begin.
        work_seconds: How long a job takes on average.
        seed: Of all chance.
    """

    nodes: int
    organizations: int
    largest: int
    seconds: float
    kill_every: float
    least: int = 1
    skew: float = 1.5
    single_every: float = 0.25
    single_within: float = SINGLE_SECONDS
    work_seconds: float = 2.0
    restart_after: float = 0.0
    seed: int = 1

    def sizes(self) -> dict[str, int]:
        """Return the backlog of each organization."""
        return {
            f"organization-{number:03}": max(self.least, round(self.largest / number**self.skew))
            for number in range(1, self.organizations + 1)
        }


@dataclass(slots=True)
class LedgerNode:
    """A place in the cluster: a process, and its successor under another name once it has been killed."""

    number: int
    folder: Path
    environment: dict[str, str]
    lives: int = 0
    process: WarmProcess = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        self.start()

    @property
    def name(self) -> str:
        """The name of its present life."""
        return f"node-{self.number}-{self.lives}"

    def start(self) -> None:
        """Begin the next life."""
        self.lives += 1
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self.process = WarmProcess(
                ["-m", "mainspring", "serve", "--roles", "worker", "--node", self.name],
                env=self.environment,
                cwd=Path(__file__).parent,
                output=log.fileno(),
                errors=log.fileno(),
            )

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Wait for its end, which it has been asked for."""
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


async def run(
    url: str, folder: Path, trial: Trial, tell: Callable[[float], None] = lambda _seconds: None
) -> tuple[Verdict, Facts]:
    """Fill the store, run and kill the nodes, stop them, and judge what their ledger says.

    Args:
        url: A store of the present schema.
        folder: For the ledger and logs.
        trial: What they go through.
        tell: Called with the seconds that have passed.
    """
    ledger = folder / "ledger"
    ledger.mkdir()
    app = Mainspring(database_url=url, secret_key=_SECRET)
    declare(app)
    async with app.connected():
        course = _Course(app, trial, Chance(trial.seed))
        await course.ask()
        async with _nodes(url, folder, ledger, trial) as nodes:
            await course.all_run(nodes)
            await course.run(nodes, tell)
        await course.see_the_end()
    return judge(ledger, course.facts), course.facts


@asynccontextmanager
async def _nodes(url: str, folder: Path, ledger: Path, trial: Trial) -> AsyncGenerator[list[LedgerNode]]:
    """Start the nodes, and at the end ask them all to stop, which they do once what they run has ended."""
    settings = {
        "LEDGER": str(ledger),
        "MAINSPRING_APP": "fair_jobs:app",
        "MAINSPRING_CONCURRENCY": "400",
        "MAINSPRING_DATABASE_URL": url,
        "MAINSPRING_HEARTBEAT": "0.5s",
        "MAINSPRING_LEASE": f"{LEASE_SECONDS:g}s",
        "MAINSPRING_ORG_CONCURRENCY": str(ORGANIZATION_LIMIT),
        "MAINSPRING_POLL": "0.5s",
        "MAINSPRING_SECRET_KEY": _SECRET,
    }
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")}
    nodes = [LedgerNode(number, folder, inherited | settings) for number in range(1, trial.nodes + 1)]
    try:
        yield nodes
        for node in nodes:
            node.process.send_signal(signal.SIGTERM)
        for node in nodes:
            node.stop()
    finally:
        for node in nodes:
            node.kill()


class _Course:
    """One trial, from what is asked for to what the store says in the end."""

    def __init__(self, app: Mainspring, trial: Trial, chance: Chance) -> None:
        self._app = app
        self._world = app.world
        self._database = app.opened.database
        self._trial = trial
        self._chance = chance
        self._down: list[tuple[float, LedgerNode]] = []
        self.facts = Facts(longest_gap=LEASE_SECONDS + AGAIN_SECONDS, longest_wait=trial.single_within)

    async def ask(self) -> None:
        """Queue the backlogs of the organizations, and the jobs with limits of their author."""
        environment = self._app.settings.environment
        sizes = self._trial.sizes()
        await self._database.tx(lambda connection: organization_limits.ensure(connection, environment, sizes))
        new: list[enqueues.NewExecution] = []
        for name, size in sizes.items():
            self._expect(name, OWN_LIMITS.get(name, ORGANIZATION_LIMIT))
            self.facts.organizations.add(name)
            new += (self._new(name) for _ in range(size))
        for name in sizes.keys() & OWN_LIMITS.keys():
            await self._database.tx(
                lambda connection, name=name: organization_limits.set_limit(
                    connection, environment, name, OWN_LIMITS[name]
                )
            )
        self._chance.shuffle(new)
        for first in range(0, len(new), _AT_ONCE):
            batch = new[first : first + _AT_ONCE]
            await self._database.tx(lambda connection, batch=batch: enqueues.insert(connection, batch))
        for number in range(_KEYS):
            await self._enqueue("of-key", f"key-{number}", limit=MOST_OF_A_KEY, times=_OF_EACH_KEY)
        await self._enqueue("at-a-rate", "rate", limit=_AT_A_RATE, times=_AT_A_RATE)
        self.facts.rates["rate"] = RATE

    def _new(self, organization: str) -> enqueues.NewExecution:
        new = enqueues.NewExecution(
            id=self._world.new_id(),
            environment=self._app.settings.environment,
            queue="default",
            job_name="of-organization",
            trigger=Trigger.API,
            organization_id=organization,
            payload=json.dumps({"group": organization, "seconds": self._seconds()}),
        )
        self._note(new.id, organization, self._now())
        return new

    def _seconds(self) -> float:
        return self._chance.uniform(0.5, 1.5) * self._trial.work_seconds

    def _expect(self, group: str, limit: int) -> None:
        self.facts.limits[group] = limit

    def _note(self, execution_id: UUID, group: str, at: float) -> None:
        self.facts.asked.setdefault(str(execution_id), Asked(group, at))

    def _now(self) -> float:
        return self._world.now().timestamp()

    async def _enqueue(
        self, job: str, group: str, *, limit: int, times: int = 1, **options: Unpack[EnqueueOptions]
    ) -> None:
        """Ask as an application does."""
        self._expect(group, limit)
        at = self._now()
        works = [Work(group, self._seconds()) for _ in range(times)]
        for execution in await self._app.enqueue_many(job, works, **options):
            self._note(execution.id, group, at)

    async def all_run(self, nodes: Sequence[LedgerNode]) -> None:
        """Return when all nodes run; from then on they are judged by how well they keep organizations busy."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self._are_all_up(nodes):
                await self._world.sleep(0.05)
        self.facts.steady = self._now()

    async def _are_all_up(self, nodes: Sequence[LedgerNode]) -> bool:
        return {node.name for node in nodes} <= await self._database.read(_names_alive)

    async def run(self, nodes: Sequence[LedgerNode], tell: Callable[[float], None]) -> None:
        """Kill nodes and ask for single jobs until the time is over."""
        trial, began = self._trial, self._world.monotonic()
        next_kill, next_single, singles = trial.kill_every, 0.0, 0
        while (passed := self._world.monotonic() - began) < trial.seconds:
            tell(passed)
            if passed >= next_single:
                singles, next_single = singles + 1, passed + trial.single_every
                await self._ask_for_single(f"{SINGLE}{singles:04}")
            self._start_again(passed)
            is_time = next_kill <= passed < trial.seconds - LEASE_SECONDS - AGAIN_SECONDS
            if is_time and await self._are_all_up(nodes):  # one at a time: who has nodes left is to be served
                next_kill = passed + trial.kill_every
                busy = await self._database.read(_names_busy)
                node = self._chance.choice([node for node in nodes if node.name in busy] or nodes)
                await self._kill(node)
                self._down.append((passed + trial.restart_after, node))
            await self._world.sleep(0.02)
        self._start_again(math.inf)
        self.facts.until = self._now()

    async def _ask_for_single(self, organization: str) -> None:
        await self._enqueue("of-organization", organization, limit=ORGANIZATION_LIMIT, organization_id=organization)
        self.facts.organizations.add(organization)
        await self._enqueue("unique", "unique", limit=1, unique_key="unique")

    def _start_again(self, passed: float) -> None:
        for due in [down for down in self._down if down[0] <= passed]:
            self._down.remove(due)
            due[1].start()

    async def _kill(self, node: LedgerNode) -> None:
        name = node.name
        node.kill()
        at = self._now()
        until, held = await self._database.read(lambda connection: _lease_and_held(connection, name))
        self.facts.falls.append(Fall(name, at, until.timestamp(), held))

    async def see_the_end(self) -> None:
        """Keep what the store says that has succeeded, what was given up, and what is left."""
        facts = self.facts
        facts.succeeded, facts.given_up, facts.left = await self._database.read(_ended_and_left)


def _names_alive(connection: Connection) -> set[str]:
    alive = sa.and_(nodes_table.c.dead_at.is_(None), nodes_table.c.stopped_at.is_(None))
    return set(connection.execute(sa.select(nodes_table.c.name).where(alive)).scalars())


def _names_busy(connection: Connection) -> set[str]:
    runs = sa.exists().where(executions_live.c.node_id == nodes_table.c.id, executions_live.c.stage == 3)
    return set(connection.execute(sa.select(nodes_table.c.name).where(runs)).scalars())


def _lease_and_held(connection: Connection, name: str) -> tuple[datetime, frozenset[str]]:
    node = sa.select(nodes_table.c.id, nodes_table.c.lease_until).where(nodes_table.c.name == name)
    node_id, lease_until = connection.execute(node).one()
    held = sa.select(executions_live.c.id).where(executions_live.c.node_id == node_id, executions_live.c.stage == 3)
    return lease_until, frozenset(str(found) for found in connection.execute(held).scalars())


def _ended_and_left(connection: Connection) -> tuple[set[str], ...]:
    queries = (
        sa.select(executions.c.id).where(executions.c.status == Status.SUCCEEDED.value),
        sa.select(executions.c.id).where(executions.c.lost_count >= MAX_LOST),
        sa.select(executions_live.c.id).where(executions_live.c.stage != 3),
    )
    return tuple({str(found) for found in connection.execute(query).scalars()} for query in queries)
