"""Four processes claim from one store while some are killed and frozen: limits hold, and nothing runs or ends twice."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Trigger
from mainspring.settings import Settings
from mainspring.store.engine.database import open_database
from mainspring.store.queue import enqueues, organization_limits
from mainspring.store.tables import executions, executions_live
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld
from tests.warm_processes import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mainspring.store.engine.database import Database

CLAIMERS = 4
ORGANIZATIONS = 14
LIMIT = 5
JOBS = 1_300
MOST_SECONDS = 45.0
SECONDS_BETWEEN_FAULTS = 0.8
JOBS_BETWEEN_FAULTS = JOBS // 5
"""On a machine that is done with them in two seconds, they are what makes faults come in time."""
LONGER_THAN_A_LEASE = 1.5


class Claimers:
    """Processes that claim, and what they have said."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._running: list[WarmProcess] = []
        self._started = 0
        for _ in range(CLAIMERS):
            self._start()

    def _start(self) -> None:
        self._started += 1
        said = self._folder / f"claimer{self._started}.jsonl"
        script = Path(__file__).with_name("claimer.py")
        self._running.append(
            WarmProcess([str(script), self._url, str(said)], env=os.environ, cwd=self._folder, output=1)
        )

    def kill_oldest(self) -> None:
        """End one as a power cut does, and start another."""
        oldest = self._running.pop(0)
        oldest.kill()
        oldest.wait()
        self._start()

    def freeze_newest(self) -> WarmProcess:
        """Stop one in its tracks; it does not know when it goes on."""
        newest = self._running[-1]
        newest.send_signal(signal.SIGSTOP)
        return newest

    def end(self) -> None:
        """Kill all that are left."""
        for process in self._running:
            process.kill()
            process.wait()

    @property
    def are_alive(self) -> bool:
        """Whether none has ended by itself."""
        return all(process.poll() is None for process in self._running)

    def said(self) -> list[dict[str, Any]]:
        """Return everything that all of them have seen."""
        files = self._folder.glob("claimer*.jsonl")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind with the present schema."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def start_claimers(url: str, tmp_path: Path) -> Iterator[Callable[[], Claimers]]:
    """Starts the processes, once the store is filled."""
    started: list[Claimers] = []

    def start() -> Claimers:
        started.append(Claimers(url, tmp_path))
        return started[-1]

    yield start
    for claimers in started:
        claimers.end()


async def fill(database: Database, world: RealWorld) -> None:
    names = [f"o{number}" for number in range(ORGANIZATIONS)]
    new = [
        enqueues.NewExecution(
            id=world.new_id(), environment="test", queue="default", job_name="job", trigger=Trigger.API,
            # Every eighth belongs to nobody; of the others the first organization has ten times as many.
            organization_id=None if number % 8 == 0 else names[max(0, number % (ORGANIZATIONS + 10) - 10)],
        )
        for number in range(JOBS)
    ]  # fmt: skip
    await database.tx(lambda connection: organization_limits.ensure(connection, "test", names))
    await database.tx(lambda connection: enqueues.insert(connection, new))


def sample(connection: sa.Connection) -> tuple[int, int]:
    """Return how many the busiest organization runs, and how many have not ended."""
    live = executions_live.c
    running = sa.select(sa.func.count().label("n")).where(live.stage == 3, live.organization_id.is_not(None))
    busiest = sa.select(sa.func.max(running.group_by(live.organization_id).subquery().c.n))
    left = sa.select(sa.func.count()).select_from(executions_live)
    return connection.execute(busiest).scalar() or 0, connection.execute(left).scalar_one()


async def watch(database: Database, world: RealWorld, claimers: Claimers) -> Counter[str]:
    """Sample without a pause until all has ended, with faults in between."""
    seen: Counter[str] = Counter()
    left = JOBS
    begun = fault_at = world.monotonic()
    frozen: WarmProcess | None = None
    while world.monotonic() - begun < MOST_SECONDS:
        busiest, left = await database.read(sample)
        seen["samples"] += 1
        seen["busiest"] = max(seen["busiest"], busiest)
        if left == 0:
            break
        ended = JOBS - left
        assert claimers.are_alive
        waited = world.monotonic() - fault_at
        if frozen is not None and waited > LONGER_THAN_A_LEASE:
            frozen.send_signal(signal.SIGCONT)
            frozen, fault_at = None, world.monotonic()
        elif frozen is None and (waited > SECONDS_BETWEEN_FAULTS or ended > (seen["faults"] + 1) * JOBS_BETWEEN_FAULTS):
            fault_at = world.monotonic()
            seen["faults"] += 1
            if seen["faults"] % 3 == 0:
                frozen = claimers.freeze_newest()
            else:
                claimers.kill_oldest()
    seen["left"] = left
    return seen


async def count(database: Database, statement: sa.Select[int]) -> int:
    return await database.read(lambda connection: connection.execute(statement).scalar_one())


async def test_limits_hold_and_nothing_runs_or_ends_twice_through_kills_and_freezes(
    url: str, start_claimers: Callable[[], Claimers]
) -> None:
    world = RealWorld()
    database = open_database(Settings(database_url=url), world)
    await database.open()
    if database.dialect_name == "sqlite":
        await schema.upgrade(database)
    await fill(database, world)
    claimers = start_claimers()
    seen = await watch(database, world, claimers)
    claimers.end()

    said = claimers.said()
    assert seen["left"] == 0
    assert seen["busiest"] == LIMIT
    assert [line["over"] for line in said if line.get("over")] == []
    claims = [(claim[0], claim[1], claim[2]) for line in said for claim in line.get("claimed", ())]
    assert len({(execution_id, attempt) for execution_id, attempt, _ in claims}) == len(claims)
    assert len({(execution_id, fence) for execution_id, _, fence in claims}) == len(claims)
    in_order = sorted(claims, key=lambda claim: (claim[0], claim[1]))
    assert in_order == sorted(claims, key=lambda claim: (claim[0], claim[2]))
    finished = [execution_id for line in said for execution_id in line.get("finished", ())]
    assert len(set(finished)) == len(finished)

    assert await count(database, sa.select(sa.func.count()).select_from(executions)) == JOBS
    assert await count(database, sa.select(sa.func.count(sa.distinct(executions.c.id)))) == JOBS
    assert seen["faults"] >= 3
    await database.close()
