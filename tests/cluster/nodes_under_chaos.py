"""Nodes that are killed and frozen while their database stops at once now and then, for the judge of `chaos_ledger`.

The test of the suite runs a short form of it, `./dev prove chaos` the long one.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.app import Mainspring
from mainspring.errors import MainspringError
from mainspring.store.tables import executions_live
from mainspring.testing.simulation.world import Chance
from mainspring.world import run_in_thread
from tests.cluster.chaos_jobs import Work, declare
from tests.cluster.chaos_ledger import Facts, Freeze, Kill, Verdict, judge
from tests.cluster.fairness_under_kills import LedgerNode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from pathlib import Path

    from tests.cluster.restartable_postgresql import RestartablePostgresql

LEASE_SECONDS: Final = 2.0
FREEZE_SECONDS: Final = 1.5 * LEASE_SECONDS
PATIENCE_SECONDS: Final = 30.0
_SECRET: Final = "a key that only these tests know, 32 bytes"
_AT_ONCE: Final = 40
"""How many jobs are asked for at once: one batch, one answer."""
_OF_THEM_UNSTEADY: Final = 0.1


@dataclass(frozen=True, slots=True)
class Trial:
    """What the nodes go through, spread evenly over the time.

    Attributes:
        nodes: How many nodes.
        jobs: How many jobs are asked for.
        seconds: For how long.
        kills: How many times a node is killed with `kill -9`; it is started again at once, under another name.
        freezes: How many times one stands still for longer than its lease.
        restarts: How many times the database stops at once.
        seed: Of all chance.
    """

    nodes: int
    jobs: int
    seconds: float
    kills: int
    freezes: int
    restarts: int
    seed: int = 1


async def run(
    postgresql: RestartablePostgresql, folder: Path, trial: Trial, tell: Callable[[float], None] = lambda _seconds: None
) -> tuple[Verdict, Facts]:
    """Run the nodes through chaos, let them end what is left, stop them, and judge.

    Args:
        postgresql: A store of the present schema.
        folder: For the ledger and logs.
        trial: What they go through.
        tell: Called with the seconds that have passed.
    """
    ledger = folder / "ledger"
    ledger.mkdir()
    app = Mainspring(database_url=postgresql.url, secret_key=_SECRET)
    declare(app)
    async with app.connected():
        with _nodes(postgresql.url, folder, ledger, trial.nodes) as nodes:
            course = _Course(app, postgresql, trial, nodes)
            await course.run(tell)
            await course.wait_for_the_end()
    return judge(ledger, _dump(postgresql.url), course.facts), course.facts


@contextmanager
def _nodes(url: str, folder: Path, ledger: Path, count: int) -> Generator[list[LedgerNode]]:
    """Start the nodes, and at the end ask them all to stop."""
    settings = {
        "LEDGER": str(ledger),
        "MAINSPRING_APP": "chaos_jobs:app",
        "MAINSPRING_CONCURRENCY": "50",
        "MAINSPRING_DATABASE_URL": url,
        "MAINSPRING_HEARTBEAT": "0.5s",
        "MAINSPRING_LEASE": f"{LEASE_SECONDS:g}s",
        "MAINSPRING_POLL": "0.2s",
        "MAINSPRING_SECRET_KEY": _SECRET,
    }
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")}
    nodes = [LedgerNode(number, folder, inherited | settings) for number in range(1, count + 1)]
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
    """One trial: who asks, who kills, who freezes and who pulls the plug, side by side."""

    def __init__(
        self, app: Mainspring, postgresql: RestartablePostgresql, trial: Trial, nodes: list[LedgerNode]
    ) -> None:
        self._app = app
        self._world = app.world
        self._postgresql = postgresql
        self._trial = trial
        self._nodes = nodes
        self._chance = Chance(trial.seed)
        self._frozen: set[int] = set()
        self._began = self._world.monotonic()
        self.facts = Facts()

    async def run(self, tell: Callable[[float], None]) -> None:
        """Do it all until the time is over."""
        async with asyncio.TaskGroup() as tasks:
            for work in (self._ask(), self._kill(), self._freeze(), self._restart(), self._supervise(tell)):
                tasks.create_task(work)

    async def wait_for_the_end(self) -> None:
        """Return when nothing waits or runs any more, or when that has not become less for long: the judge names it."""
        count = sa.select(sa.func.count()).select_from(executions_live)
        least, until = math.inf, self._world.monotonic() + PATIENCE_SECONDS
        while self._world.monotonic() < until:
            left = await self._app.opened.database.read(lambda connection: connection.execute(count).scalar_one())
            if not left:
                return
            if left < least:
                least, until = left, self._world.monotonic() + PATIENCE_SECONDS
            self._start_what_ended()
            await self._world.sleep(0.25)

    async def _times(self, count: int) -> AsyncGenerator[int]:
        """Return `count` times, evenly spread, none of them at the very begin or end."""
        for number in range(1, count + 1):
            due = self._began + self._trial.seconds * number / (count + 1)
            await self._world.sleep(max(0.0, due - self._world.monotonic()))
            yield number

    async def _supervise(self, tell: Callable[[float], None]) -> None:
        async for number in self._times(steps := int(self._trial.seconds * 4)):
            tell(self._trial.seconds * number / steps)
            self._start_what_ended()

    def _start_what_ended(self) -> None:
        """Start a node again that found no database when it started, as whatever runs services does."""
        for node in self._nodes:
            if node.process.poll() is not None:
                node.start()
                self.facts.started_again += 1

    async def _ask(self) -> None:
        """Ask for the jobs as an application does that goes on when it gets no answer."""
        async for number in self._times(self._trial.jobs // _AT_ONCE):
            is_unsteady = self._chance.random() < _OF_THEM_UNSTEADY
            first = (number - 1) * _AT_ONCE
            works = [Work(first + offset, self._chance.uniform(0.005, 0.4)) for offset in range(_AT_ONCE)]
            try:
                accepted = await self._app.enqueue_many("unsteady" if is_unsteady else "steady", works)
            except MainspringError:
                self.facts.unanswered += 1
            else:
                self.facts.accepted.update(str(execution.id) for execution in accepted)

    async def _kill(self) -> None:
        async for _ in self._times(self._trial.kills):
            node = self._one_that_goes()
            name = node.name
            node.kill()
            self.facts.kills.append(Kill(name, self._now()))
            node.start()

    async def _freeze(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for _ in self._times(self._trial.freezes):
                tasks.create_task(self._freeze_one(self._one_that_goes()))

    async def _freeze_one(self, node: LedgerNode) -> None:
        self._frozen.add(node.number)
        node.process.send_signal(signal.SIGSTOP)
        since = self._now()
        try:
            await self._world.sleep(FREEZE_SECONDS)
        finally:
            node.process.send_signal(signal.SIGCONT)
            self._frozen.discard(node.number)
        self.facts.freezes.append(Freeze(node.name, since, self._now()))

    async def _restart(self) -> None:
        with self._world.thread_pool(1, name="restarts") as pool:
            async for _ in self._times(self._trial.restarts):
                stopped = self._now()
                await run_in_thread(pool, self._postgresql.restart_at_once)
                self.facts.restarts.append((stopped, self._now()))

    def _one_that_goes(self) -> LedgerNode:
        return self._chance.choice([node for node in self._nodes if node.number not in self._frozen])

    def _now(self) -> float:
        return self._world.now().timestamp()


def _dump(url: str) -> list[dict[str, Any]]:
    """Return the store as an outsider reads it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")}
    done = subprocess.run(
        [sys.executable, "-m", "mainspring", "dump", "--json"],
        env=environment | {"MAINSPRING_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
