"""Nodes that all fire the same schedules, are killed and get wrong clocks; and a judge that counts their ticks.

The test of the suite runs a short form of it, `./dev prove ticks` the long one.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring import Mainspring
from mainspring.store.tables import nodes as nodes_table
from mainspring.store.tables import ticks as ticks_table
from mainspring.testing.simulation.world import Chance
from mainspring.world import RealWorld
from tests.warm_processes import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE_SECONDS: Final = 60.0
_SECOND: Final = timedelta(seconds=1)
_AN_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Fire:
    """What the nodes go through.

    Attributes:
        nodes: How many fire the same schedules.
        schedules: How many schedules, each due every second.
        seconds: For how long.
        kill_every: Seconds from one `kill -9` to the next; the node is started again at once.
        near_tick: Whether each kill falls within 200 ms of a second, on the node that fired the last tick.
        step_every: Seconds from one step of a node's clock, by up to an hour, to the next.
        seed: Of all chance.
    """

    nodes: int
    schedules: int
    seconds: float
    kill_every: float
    step_every: float
    near_tick: bool = False
    seed: int = 1


@dataclass(slots=True)
class Verdict:
    """What the judge found.

    Attributes:
        due: Instants that were due, of all schedules.
        ticks: Ticks that were recorded for them.
        executions: Executions of them that succeeded.
        lateness: Seconds from each instant to its tick, sorted.
        problems: Whatever contradicts "one tick and one execution per due instant".
    """

    kills: int = 0
    steps: int = 0
    due: int = 0
    ticks: int = 0
    executions: int = 0
    lateness: list[float] = field(default_factory=list[float])
    problems: list[str] = field(default_factory=list[str])

    def late(self, share: float) -> float:
        """Return the lateness that this share of the ticks does not exceed."""
        return self.lateness[min(len(self.lateness) - 1, int(share * len(self.lateness)))] if self.lateness else 0.0


class TickingNode:
    """A node in a process of its own, with a clock that can be set wrong."""

    def __init__(self, name: str, url: str, folder: Path, schedules: int) -> None:
        self.name = name
        self._clock = folder / f"{name}.clock"
        self._clock.write_text("0")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")} | {
            "MAINSPRING_APP": "tick_jobs:app",
            "MAINSPRING_DATABASE_URL": url,
            "MAINSPRING_HEARTBEAT": "1s",
            "MAINSPRING_LEASE": "3s",
            "MAINSPRING_POLL": "0.2s",
            "MAINSPRING_SECRET_KEY": "a key that only these tests know, 32 bytes",
            "MAINSPRING_TEST_MODE": "1",
            "MAINSPRING_TEST_CLOCK_FILE": str(self._clock),
            "SCHEDULES": str(schedules),
        }
        self._log = (folder / f"{name}.log").open("ab")
        self.process = self._start()

    def _start(self) -> WarmProcess:
        command = ["-m", "mainspring", "serve", "--port", "0", "--node", self.name]
        log = self._log.fileno()
        return WarmProcess(command, env=self._environment, cwd=Path(__file__).parent, output=log, errors=log)

    def kill_and_start_again(self) -> None:
        """End it as a power cut does, and start it anew."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def set_clock(self, seconds: float) -> None:
        """Shift its wall clock."""
        self._clock.write_text(f"{seconds:.3f}")

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def run(url: str, folder: Path, fire: Fire, tell: Callable[[float], None] = lambda _seconds: None) -> Verdict:
    """Start the nodes, let them fire under fire, stop them, and judge what the store holds.

    Args:
        url: A store of the present schema.
        folder: For logs and clocks.
        fire: What they go through.
        tell: Called with the seconds that have passed.
    """
    chance = Chance(fire.seed)
    world = RealWorld()
    nodes = [TickingNode(f"node-{number}", url, folder, fire.schedules) for number in range(fire.nodes)]
    verdict = Verdict()
    try:
        _wait_until_all_tick(world, url, nodes, fire.schedules)
        start, began = world.now(), world.monotonic()
        next_kill, next_step = fire.kill_every, fire.step_every
        while (passed := world.monotonic() - began) < fire.seconds:
            tell(passed)
            if passed >= next_step:
                chance.choice(nodes).set_clock(chance.choice((-1, 1)) * chance.uniform(1, _AN_HOUR))
                verdict.steps, next_step = verdict.steps + 1, next_step + fire.step_every
            if passed >= next_kill:
                victim = _victim(url, nodes, chance) if fire.near_tick else chance.choice(nodes)
                if fire.near_tick:
                    _wait_for_the_second(world, chance.uniform(-0.2, 0.2))
                victim.kill_and_start_again()
                verdict.kills, next_kill = verdict.kills + 1, next_kill + fire.kill_every
            world.pause(0.02)
        end = world.now()
        _wait_until(world, lambda: _ticking_since(url, end) >= fire.schedules)
    finally:
        for node in nodes:
            node.close()
    _judge(verdict, url, fire, start, end)
    return verdict


def _wait_until_all_tick(world: RealWorld, url: str, nodes: Sequence[TickingNode], schedules: int) -> None:
    begun = world.now()
    _wait_until(world, lambda: len(_names_alive(url)) == len(nodes))
    _wait_until(world, lambda: _ticking_since(url, begun) >= schedules)


def _wait_until(world: RealWorld, seen: Callable[[], bool]) -> None:
    until = world.monotonic() + PATIENCE_SECONDS
    while not seen():
        if world.monotonic() > until:
            raise TimeoutError("the nodes do not tick; look at their logs")
        world.pause(0.2)


def _wait_for_the_second(world: RealWorld, offset: float) -> None:
    """Wait until `offset` seconds from the next full second."""
    now = world.now()
    following = now.replace(microsecond=0) + 2 * _SECOND + timedelta(seconds=offset)
    world.pause((following - now).total_seconds())


def _victim(url: str, nodes: Sequence[TickingNode], chance: Chance) -> TickingNode:
    """Return the node that recorded the latest tick: the nearest thing to a leader."""
    latest = (
        sa.select(nodes_table.c.name)
        .join(ticks_table, ticks_table.c.node_id == nodes_table.c.id)
        .order_by(ticks_table.c.recorded_at.desc())
        .limit(1)
    )
    names = _read(url, latest)
    return next((node for node in nodes if node.name in names), chance.choice(nodes))


def _names_alive(url: str) -> set[str]:
    alive = sa.and_(nodes_table.c.dead_at.is_(None), nodes_table.c.stopped_at.is_(None))
    return set(_read(url, sa.select(nodes_table.c.name).where(alive)))


def _ticking_since(url: str, instant: datetime) -> int:
    """Return how many schedules have a tick at or after an instant."""
    since = ticks_table.c.scheduled_for >= instant
    return len(_read(url, sa.select(ticks_table.c.schedule_name).where(since).distinct()))


def _read(url: str, statement: sa.Select[str]) -> list[str]:
    async def read() -> list[str]:
        app = Mainspring(database_url=url, secret_key="a key that only these tests know, 32 bytes")
        async with app.connected():
            return await app.opened.database.read(lambda connection: list(connection.execute(statement).scalars()))

    return asyncio.run(read())


def _dump(url: str) -> list[dict[str, str]]:
    """Return the store as an outsider reads it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")}
    settings = environment | {"MAINSPRING_DATABASE_URL": url}
    dump = WarmProcess(["-m", "mainspring", "dump", "--json"], env=settings, cwd=Path(__file__).parent)
    with dump.stdout as lines:
        told = [json.loads(line) for line in lines]
    assert dump.wait() == 0
    return told


def _judge(verdict: Verdict, url: str, fire: Fire, start: datetime, end: datetime) -> None:
    told = _dump(url)
    first = start.replace(microsecond=0) + _SECOND
    expected = {first + number * _SECOND for number in range(int((end - first).total_seconds()) + 1)}
    ticks = [record for record in told if record["kind"] == "tick"]
    runs = Counter(
        (record["jobType"], record["scheduledFor"], record["status"])
        for record in told
        if record["kind"] == "execution"
    )
    for number in range(fire.schedules):
        name = f"every-second-{number:02}"
        mine = {datetime.fromisoformat(tick["scheduledFor"]): tick for tick in ticks if tick["schedule"] == name}
        if len(mine) != sum(tick["schedule"] == name for tick in ticks):
            verdict.problems.append(f"{name}: an instant has two ticks")
        for instant in sorted(expected):
            verdict.due += 1
            tick = mine.get(instant)
            if tick is None or tick["outcome"] != "fired":
                verdict.problems.append(f"{name} at {instant:%H:%M:%S}: {tick and (tick['outcome'], tick['reason'])}")
                continue
            verdict.ticks += 1
            verdict.lateness.append((datetime.fromisoformat(tick["recordedAt"]) - instant).total_seconds())
            ended = runs[name, tick["scheduledFor"], "succeeded"]
            verdict.executions += ended
            if ended != 1:
                verdict.problems.append(f"{name} at {instant:%H:%M:%S}: {ended} executions succeeded")
    verdict.lateness.sort()
