"""What keeping answers on Valkey gains: `./dev bench answer-cache`.

The status of jobs, statistics and reports are asked for on one PostgreSQL with 200,000 executions of ten weeks, by an
API that has no Valkey and by one that has, in turns. After so many questions as `--every` says, the figures count as
added up anew, as in a busy installation each ten seconds: one answer in so many is computed on either side. Processor
time is that of all of PostgreSQL's processes, and of this one, in which the API is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import httpx2
import psutil
import sqlalchemy as sa
from rich.console import Console

from benchmarks.proofs.history_10m import application, clients_of, percentile
from benchmarks.proofs.history_questions import Asker
from benchmarks.proofs.history_rows import ENVIRONMENT, fill
from benchmarks.proofs.ticks import store_of_its_own
from mainspring.store.analytics import rollups
from mainspring.store.engine.database import open_database
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import rollup_marks
from mainspring.world import RealWorld
from tests.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from mainspring.store.engine.database import Database

_WARM: Final = 6
"""After so many executions PostgreSQL plans a prepared statement no more."""
_clock = RealWorld()
_ROLLED_ANEW = sa.update(rollup_marks).where(rollup_marks.c.environment == ENVIRONMENT).values(rolled_at=store_now())


def questions(now: datetime) -> Mapping[str, str]:
    """Return what is asked, by what it is about."""
    month, quarter = (quote((now - timedelta(days=days)).isoformat()) for days in (30, 70))
    return {
        "status of 100 jobs": "status",
        "status of 25 jobs": "status?pageSize=25",
        "statistics of a day": "stats",
        "statistics of ten weeks": f"stats?from={quarter}",
        "performance in a month": f"reports/performance?from={month}",
        "trends of ten weeks": f"reports/trends?from={quarter}",
    }


@dataclass(slots=True)
class Answers:
    """What the answers of one API to one question took."""

    milliseconds: list[float] = field(default_factory=list[float])
    database_cpu_ms: list[float] = field(default_factory=list[float])
    api_cpu_ms: list[float] = field(default_factory=list[float])


def _processor_ms(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes if process.is_running()) * 1000


async def _ask(client: httpx2.AsyncClient, address: str, times: int, answers: Answers, server: psutil.Process) -> None:
    """Ask some times in a row: the processor time of one answer is less than the kernel counts in."""
    family = [server, *server.children()]
    database, own = _processor_ms(family), _processor_ms([psutil.Process()])
    for _ in range(times):
        began = _clock.monotonic()
        answer = await client.get(f"/admin/cron-jobs/{address}")
        answers.milliseconds.append((_clock.monotonic() - began) * 1000)
        if answer.status_code != httpx2.codes.OK:
            raise SystemExit(f"{address}: {answer.status_code} {answer.text}")
    answers.database_cpu_ms.append((_processor_ms(family) - database) / times)
    answers.api_cpu_ms.append((_processor_ms([psutil.Process()]) - own) / times)


async def measure(url: str, *, times: int, every: int, told: Callable[[str, Mapping[str, Answers]], None]) -> None:
    """Ask every question on both sides, and tell what its answers took."""
    valkey = Valkey()
    async with AsyncExitStack() as stack:
        clients: dict[str, httpx2.AsyncClient] = {}
        for name, redis_url in (("store", None), ("Valkey", valkey.url)):
            app = application(url)
            app.settings.redis_url = redis_url
            clients[name] = (await clients_of(app, stack))[Asker.STAFF]
        database = app.opened.database
        server = await _server_of(database)
        for about, address in questions(_clock.now()).items():
            by = {name: Answers() for name in clients}
            for client in clients.values():
                await _ask(client, address, _WARM, Answers(), server)
            for _ in range(max(1, times // every)):
                for name, client in clients.items():
                    await database.tx(lambda connection: connection.execute(_ROLLED_ANEW))
                    await _ask(client, address, every, by[name], server)
            told(about, by)
    valkey.kill()


async def _server_of(database: Database) -> psutil.Process:
    """Return the first process of PostgreSQL: the parent of the one that we talk to."""
    own = sa.select(sa.func.pg_backend_pid())
    pid = await database.read(lambda connection: connection.execute(own).scalar_one())
    parent = psutil.Process(pid).parent()
    if parent is None:
        raise SystemExit("the processes of PostgreSQL are not seen from here")
    return parent


async def _prepare(url: str, rows: int, console: Console) -> None:
    app = application(url)
    database = open_database(app.settings, _clock)
    await database.open()
    await fill(database, url, rows, _clock.now(), lambda _written: None)
    more = True
    while more:
        more = (await database.tx(lambda connection: rollups.roll(connection, ENVIRONMENT))).more
    await database.close()
    console.print(f"{rows:,} executions are in the history and added up", highlight=False)


def tell(console: Console, about: str, by: Mapping[str, Answers]) -> None:
    """Show both sides of one question."""
    for name, answers in by.items():
        took = sorted(answers.milliseconds)
        middle, most = percentile(took, 0.5), percentile(took, 0.99)
        cost = f"{fmean(answers.database_cpu_ms):12.2f}{fmean(answers.api_cpu_ms):9.2f}"
        console.print(f"{about:26}{name:8}{middle:9.1f}{most:9.1f}{cost}", highlight=False)


def main() -> int:
    """Print what answers took, and what they cost the database."""
    parser = argparse.ArgumentParser(prog="./dev bench answer-cache", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=200_000, help="how many executions (200000)")
    parser.add_argument("--times", type=int, default=200, help="how often each question is asked (200)")
    parser.add_argument("--every", type=int, default=20, help="after how many the figures change (20)")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with store_of_its_own(Path(scratch), sqlite=False) as url:
            asyncio.run(_prepare(url, arguments.rows, console))
            console.print(f"{'':26}{'':8}{'p50 ms':>9}{'p99 ms':>9}{'database ms':>12}{'API ms':>9}")
            asked = measure(url, times=arguments.times, every=arguments.every, told=partial(tell, console))
            asyncio.run(asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
