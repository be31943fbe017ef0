"""Claim: 100,000 schedules cost an idle node next to nothing, and what is due among them fires within a second.

`./dev prove schedules` fills a store with copies of an hourly schedule, starts one node beside it, lets its monitor
look at each job for the first time, and measures what share of a core it takes while nothing is due, then how late the
ticks are while 28 come due each second. `--roles worker,scheduler` measures a node that leaves the monitor to others.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from rich.console import Console

from benchmarks.proofs import scheduled_app
from benchmarks.proofs.ticks import store_of_its_own
from mainspring import Every, Mainspring
from mainspring.runtime.node import ROLES
from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs import registration
from mainspring.store.monitoring import health_look
from mainspring.store.scheduling.firing import Firing
from mainspring.store.scheduling.stored_schedule import text_of
from mainspring.store.tables import definitions as definitions_table
from mainspring.store.tables import schedules, ticks
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator

    from mainspring.store.engine.database import Connection

KEY: Final = "a key that only this proof knows, 32 bytes"
MOST_CPU: Final = 0.02
MOST_LATENESS: Final = 1.0
LEAD_SECONDS: Final = 5.0
"""Between the change of the schedules and the first of their instants: the change takes a moment itself."""
SETTLING_SECONDS: Final = 5.0
"""After its start a node is not idle yet: it loads what a start does without."""
LOOK_EVERY: Final = 2.0
_TICKS_OF_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


async def fill(url: str, count: int) -> None:
    """Make copies of the schedule, none of which is due within the hour."""
    app = Mainspring(database_url=url, secret_key=KEY)

    def copy(connection: Connection) -> None:
        on_sqlite = connection.dialect.name == "sqlite"
        series = (
            f"(with recursive s(n) as (select 1 union all select n + 1 from s limit {count}) select n from s)"  # noqa: S608
            if on_sqlite
            else f"generate_series(1, {count}) s(n)"
        )
        prefix = "mainspring_" if on_sqlite else "mainspring."
        for table in (definitions_table, schedules):
            names = [column.name for column in table.columns]
            values = ["'copy-' || n" if name == "name" else f"c.{name}" for name in names]
            connection.exec_driver_sql(
                f"insert into {prefix}{table.name} ({', '.join(names)}) select {', '.join(values)} "  # noqa: S608
                f"from {prefix}{table.name} c cross join {series} where c.name = 'original'"
            )

    async with app.connected():
        who = Firing.by(app.world, app.settings.environment)
        await app.opened.database.tx(
            lambda connection: registration.register(connection, who, scheduled_app.app.registry)
        )
        await app.opened.database.tx(copy)


async def spread(url: str, seconds: float) -> None:
    """Let the schedules come due one after the other, as hourly ones do, from now on for so long."""
    app = Mainspring(database_url=url, secret_key=KEY)
    async with app.connected():

        def change(connection: Connection) -> None:
            number = sa.cast(sa.func.substr(schedules.c.name, 6), sa.Integer)
            rows = connection.execute(
                sa.select(schedules.c.name).where(schedules.c.name.like("copy-%"), number < seconds * 28)
            ).scalars()
            now = connection.execute(sa.select(store_now())).scalar_one()
            for place, name in enumerate(rows):
                instant = now + timedelta(seconds=LEAD_SECONDS, milliseconds=place * 1000 // 28)
                text = text_of(Every(hours=1, anchor=instant.replace(microsecond=instant.microsecond // 1000 * 1000)))
                connection.execute(
                    sa.update(schedules)
                    .where(schedules.c.environment == app.settings.environment, schedules.c.name == name)
                    .values(code_expression=text.expression, due_at=instant, watermark=now)
                )

        await app.opened.database.tx(change)


async def look_at_all(url: str) -> float:
    """Return how many seconds it takes until the monitor has looked at each job once; later it looks at few."""
    app = Mainspring(database_url=url, secret_key=KEY)
    began = app.world.monotonic()
    async with app.connected():
        environment = app.settings.environment
        while (await app.opened.database.read(lambda connection: health_look.look(connection, environment))).unseen:
            await app.world.sleep(LOOK_EVERY)
    return app.world.monotonic() - began


async def lateness(url: str) -> list[float]:
    """Return by how many seconds each tick was recorded after its instant, sorted."""
    app = Mainspring(database_url=url, secret_key=KEY)
    async with app.connected():
        rows = await app.opened.database.read(
            lambda connection: connection.execute(sa.select(ticks.c.scheduled_for, ticks.c.recorded_at)).all()
        )
    return sorted((row.recorded_at - row.scheduled_for).total_seconds() for row in rows)


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time that a process has taken."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_OF_A_SECOND


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev prove schedules", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--schedules", type=int, default=100_000, help="how many (100,000)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each half is measured (30)")
    parser.add_argument("--sqlite", action="store_true", help="on one SQLite file instead of PostgreSQL")
    parser.add_argument("--roles", default=",".join(ROLES), help="what the node does (everything)")
    return parser.parse_args()


@contextmanager
def _node(url: str, roles: str) -> Generator[subprocess.Popen[bytes]]:
    """Start a node, return when it says that it is ready, and stop it at the end."""
    arguments = ("serve", "--port", "0", "--app", "benchmarks.proofs.scheduled_app:app", "--roles", roles)
    node = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "mainspring", *arguments],
        env=os.environ | {"MAINSPRING_DATABASE_URL": url, "MAINSPRING_SECRET_KEY": KEY},
        stdout=subprocess.PIPE,
    )
    try:
        if node.stdout is not None:
            node.stdout.readline()
        yield node
    finally:
        node.terminate()
        node.wait(30)


def main() -> int:
    """Print the figures, and return 1 where the claim does not hold."""
    arguments, console, world = _arguments(), Console(), RealWorld()
    with (
        tempfile.TemporaryDirectory(prefix="mainspring-schedules-") as name,
        store_of_its_own(Path(name), sqlite=arguments.sqlite) as url,
    ):
        asyncio.run(fill(url, arguments.schedules))
        with _node(url, arguments.roles) as node:
            looked = asyncio.run(look_at_all(url)) if "monitor" in arguments.roles else None
            world.pause(SETTLING_SECONDS)
            before = cpu_seconds(node.pid)
            world.pause(arguments.seconds)
            idle = (cpu_seconds(node.pid) - before) / arguments.seconds
            asyncio.run(spread(url, arguments.seconds))
            world.pause(arguments.seconds + LEAD_SECONDS + 2.0)
            late = asyncio.run(lateness(url))
    p99 = late[int(0.99 * len(late))] if late else float("inf")
    for what, value in (
        ("schedules", f"{arguments.schedules:,}"),
        ("first look at all", "–" if looked is None else f"{looked:,.0f} s"),
        ("CPU of an idle node", f"{idle:.2%}"),
        ("ticks fired", f"{len(late):,}"),
        ("lateness, median", f"{late[len(late) // 2] * 1000:.0f} ms" if late else "–"),
        ("lateness, p99", f"{p99 * 1000:.0f} ms"),
    ):
        console.print(f"{what:24}{value:>12}")
    return int(idle > MOST_CPU or p99 > MOST_LATENESS)


if __name__ == "__main__":
    sys.exit(main())
