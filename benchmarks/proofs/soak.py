"""Claim: hours of mixed work leave nothing behind, and the last job begins as soon as the first.

`./dev prove soak` runs two nodes for an hour with everything that a node does: jobs on the loop, on threads and in
processes, retries, cancellations, locks, schedules, exports, pages, people who listen and leave, and retention that
removes what is a minute old. Every two seconds it looks at both nodes and at the store. After a warm-up of three tenths
of the time, the Theil-Sen line of each figure may rise by what its limit says and no more: resident memory,
descriptors, threads, processes, zombies and tasks of each node, connections, rows, dead rows and size of the hot
tables, SQLite's write-ahead log, export files. And p99 of the wait of a plain job in the last tenth stays within a
factor of the first's.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.proofs.ticks import store_of_its_own
from tests.cluster.soak_judge import Found, judge, tenths
from tests.cluster.soaking import Soaked, Trial, soak

if TYPE_CHECKING:
    from collections.abc import Sequence

_JITTER_SECONDS: Final = 0.05
"""Waits that differ by less are the same."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev prove soak", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--nodes", type=int, default=2, help="how many nodes (2)")
    parser.add_argument("--rate", type=float, default=5.0, help="jobs of each kind a second (5)")
    parser.add_argument("--factor", type=float, default=2.0, help="by which p99 of the wait may grow (2)")
    parser.add_argument("--sqlite", action="store_true", help="on one SQLite file instead of PostgreSQL")
    return parser.parse_args()


def _run(arguments: argparse.Namespace, console: Console) -> Soaked:
    seconds = arguments.minutes * 60
    trial = Trial(nodes=arguments.nodes, seconds=seconds, rate=arguments.rate)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        store_of_its_own(Path(name), sqlite=arguments.sqlite) as url,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task(f"{trial.nodes} nodes, {arguments.minutes:g} min", total=seconds)
        return asyncio.run(soak(url, Path(name), trial, lambda passed: progress.update(task, completed=passed)))


def _table(found: Sequence[Found]) -> Table:
    table = Table("figure", *(("typical", "most", "rise", "allowed", "an hour")), "")
    for column in table.columns[1:6]:
        column.justify = "right"
    for figure in found:
        values = (figure.typical, figure.most, figure.rise, figure.allowed, figure.an_hour)
        verdict = "[green]flat[/]" if figure.is_flat else "[red]rises[/]"
        table.add_row(f"{figure.name} {figure.unit}".strip(), *(f"{value:,.1f}" for value in values), verdict)
    return table


def main() -> int:
    """Print what happened, and return 1 where the claim does not hold."""
    console = Console()
    arguments = _arguments()
    soaked = _run(arguments, console)
    found = [figure for series in soaked.figures.series.values() if (figure := judge(series)) is not None]
    console.print(_table(sorted(found, key=lambda figure: figure.name)))
    asked = ", ".join(f"{count:,} {name}" for name, count in sorted(soaked.asked.items()))
    console.print(
        f"asked for: {asked}; {soaked.heard:,} events heard, {soaked.unanswered:,} pages not answered", highlight=False
    )
    waits = tenths(soaked.waits, 0.99)
    if not found or waits is None:
        console.print("[red]it was too short to say anything[/]")
        return 1
    first, last = waits
    console.print(
        f"wait of a plain job, p99: {first * 1000:,.0f} ms in the first tenth, {last * 1000:,.0f} ms in the last",
        highlight=False,
    )
    is_as_fast = last <= arguments.factor * first + _JITTER_SECONDS
    return int(not is_as_fast or soaked.unanswered > 0 or any(not figure.is_flat for figure in found))


if __name__ == "__main__":
    sys.exit(main())
