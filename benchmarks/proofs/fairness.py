"""Claim: organizations share the nodes fairly and exactly, whatever their backlogs, while nodes are killed.

`./dev prove fairness` runs 4 nodes on PostgreSQL for a minute. 200 organizations have backlogs from 100,000 jobs down
to 60, others come with a single job, and every six seconds a node is killed with `kill -9` and another one started.
Each handler writes its begin and its end to a ledger, and by that alone: nobody ever runs more than its limit; whoever
a kill has hit runs at its limit again within 2 s of the end of the dead node's lease; a single job starts within a
second, or within those 2 s where a node dies that has just claimed it; nothing is lost, and nothing done twice unless a
kill is why. Keys, rates and unique jobs are judged with it.
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
from tests.cluster.fairness_ledger import AGAIN_SECONDS, SINGLE, Facts, Verdict, share
from tests.cluster.fairness_under_kills import LEASE_SECONDS, Trial, run

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZES: Final = (100, 1_000, 10_000, 1_000_000)
"""The largest backlog of each class that the table shows."""

_LEAST: Final = 60
"""More than an organization works off in a minute, so that all of them are to run at their limit until the end."""
_WORK_SECONDS: Final = 8.0


def _trial(arguments: argparse.Namespace) -> Trial:
    return Trial(
        nodes=arguments.nodes,
        organizations=arguments.organizations,
        largest=arguments.largest,
        least=_LEAST,
        work_seconds=_WORK_SECONDS,
        seconds=arguments.seconds,
        kill_every=arguments.kill_every,
        restart_after=LEASE_SECONDS + AGAIN_SECONDS,
        seed=arguments.seed,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev prove fairness", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=4, help="how many nodes (4)")
    parser.add_argument("--organizations", type=int, default=200, help="how many have a backlog (200)")
    parser.add_argument("--largest", type=int, default=100_000, help="the largest backlog (100000)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--kill-every", type=float, default=6.0, help="seconds between kills (6)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    store = parser.add_mutually_exclusive_group()
    store.add_argument("--postgresql", action="store_true", help="on a PostgreSQL of its own (the default)")
    store.add_argument("--sqlite", action="store_true", help="on one SQLite file")
    return parser.parse_args()


def _run(arguments: argparse.Namespace, trial: Trial, console: Console) -> tuple[Verdict, Facts]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="mainspring-fairness-") as name,
        store_of_its_own(Path(name), sqlite=arguments.sqlite) as url,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task(f"{trial.nodes} nodes, {trial.organizations} organizations", total=trial.seconds)
        return asyncio.run(run(url, Path(name), trial, lambda passed: progress.update(task, completed=passed)))


def _by_size(trial: Trial) -> dict[str, list[str]]:
    """Return the names of organizations by the class of their backlog."""
    classes: dict[str, list[str]] = {f"up to {bound:,}": [] for bound in SIZES}
    for name, size in trial.sizes().items():
        bound = next(bound for bound in SIZES if size <= bound)
        classes[f"up to {bound:,}"].append(name)
    return classes


def _table(verdict: Verdict, trial: Trial) -> Table:
    """Show how long whom waited, and for how long a slot stood empty that somebody could have used."""
    table = Table("backlog", "organizations", "begun", "wait median", "wait p99", "most at once", "longest gap")
    singles = [name for name in verdict.most_at_once if name.startswith(SINGLE)]
    for label, names in {"a single job": singles, **_by_size(trial)}.items():
        waits = [wait for name in names for wait in verdict.waits.get(name, [])]
        table.add_row(
            label,
            f"{len(names):,}",
            f"{len(waits):,}",
            f"{share(waits, 0.5):.2f} s",
            f"{share(waits, 0.99):.2f} s",
            str(_most(verdict.most_at_once[name] for name in names)),
            f"{_most(verdict.gaps[name] for name in names):.2f} s",
        )
    return table


def _most(values: Iterable[float]) -> float:
    return max(values, default=0)


def main() -> int:
    """Print what happened, and return 1 where the claim does not hold."""
    console = Console()
    arguments = _arguments()
    trial = _trial(arguments)
    verdict, facts = _run(arguments, trial, console)
    console.print(_table(verdict, trial))
    for name, value in (
        ("jobs queued", f"{len(facts.asked):,}"),
        ("attempts", f"{len(verdict.runs):,}"),
        ("nodes killed", f"{len(facts.falls):,}"),
        ("attempts that a kill cut", f"{sum(attempt.is_cut for attempt in verdict.runs):,}"),
        ("organizations hit that had more waiting", f"{len(verdict.recoveries):,}"),
        ("full again after the lease, median", f"{share(verdict.recoveries, 0.5):.2f} s"),
        ("full again after the lease, most", f"{share(verdict.recoveries, 1.0):.2f} s"),
        ("problems", f"{len(verdict.problems):,}"),
    ):
        console.print(f"{name:42}{value:>10}", highlight=False)
    for problem in verdict.problems[:20]:
        console.print(f"[red]{problem}[/]", highlight=False)
    return int(bool(verdict.problems))


if __name__ == "__main__":
    sys.exit(main())
