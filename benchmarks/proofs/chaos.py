"""Claim: whatever is accepted ends once, and its history says why, while nodes and database fall over.

`./dev prove chaos` runs 20,000 jobs on 4 nodes and PostgreSQL for five minutes. Meanwhile 200 nodes are killed with
`kill -9`, 60 stand still for longer than their lease, and the database stops at once 10 times. The judge reads the
ledger that the handlers wrote, and the store from outside, by `mainspring dump`: nothing accepted is lost, each
execution has one success or the reason why it was given up, fences only rise, each attempt is recorded and explained,
and two attempts overlap only while a frozen node has not yet seen that it was replaced.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.cluster.fairness_ledger import share
from tests.cluster.nodes_under_chaos import Trial, run
from tests.cluster.restartable_postgresql import restartable_postgresql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cluster.chaos_ledger import Facts, Verdict


def _trial() -> Trial:
    parser = argparse.ArgumentParser(prog="./dev prove chaos", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=4, help="how many nodes (4)")
    parser.add_argument("--jobs", type=int, default=20_000, help="how many jobs (20000)")
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long (300)")
    parser.add_argument("--kills", type=int, default=200, help="how many kills of a node (200)")
    parser.add_argument("--freezes", type=int, default=60, help="how many freezes past the lease (60)")
    parser.add_argument("--restarts", type=int, default=10, help="how many sudden restarts of the database (10)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    return Trial(**vars(parser.parse_args()))


def _run(trial: Trial, console: Console) -> tuple[Verdict, Facts]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as name,
        restartable_postgresql(Path(name), "chaos") as postgresql,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task(f"{trial.nodes} nodes, {trial.jobs:,} jobs", total=trial.seconds)
        return asyncio.run(run(postgresql, Path(name), trial, lambda passed: progress.update(task, completed=passed)))


def _shares(name: str, seconds: Sequence[float]) -> list[tuple[str, str]]:
    shares = (("median", 0.5), ("p99", 0.99), ("most", 1.0))
    return [(f"{name}, {word}", f"{share(seconds, of):.2f} s") for word, of in shares]


def main() -> int:
    """Print what happened, and return 1 where the claim does not hold."""
    console = Console()
    verdict, facts = _run(_trial(), console)
    for name, value in (
        ("nodes killed", f"{len(facts.kills):,}"),
        ("nodes frozen past their lease", f"{len(facts.freezes):,}"),
        ("sudden restarts of the database", f"{len(facts.restarts):,}"),
        ("nodes that started without a database, and again", f"{facts.started_again:,}"),
        ("jobs accepted", f"{len(facts.accepted):,}"),
        ("batches without an answer", f"{facts.unanswered:,}"),
        ("executions in the store", f"{verdict.executions:,}"),
        ("succeeded", f"{verdict.succeeded:,}"),
        ("given up after three lost attempts", f"{verdict.poisonous:,}"),
        ("attempts", f"{len(verdict.runs):,}"),
        ("attempts that a kill cut", f"{sum(attempt.is_cut for attempt in verdict.runs):,}"),
        ("work done twice (an attempt died before it was recorded)", f"{verdict.effects_twice:,}"),
        ("attempts lost", f"{verdict.lost:,}"),
        ("of them lost before they began", f"{verdict.lost_unbegun:,}"),
        *_shares("cut to next claim", [recovery.claimed for recovery in verdict.recoveries]),
        *_shares("cut to next begin", [recovery.begun for recovery in verdict.recoveries]),
        ("problems", f"{len(verdict.problems):,}"),
    ):
        console.print(f"{name:60}{value:>10}", highlight=False)
    for problem in verdict.problems[:20]:
        console.print(f"[red]{problem}[/]", highlight=False)
    return int(bool(verdict.problems))


if __name__ == "__main__":
    sys.exit(main())
