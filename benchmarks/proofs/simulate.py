"""Claim: whatever happens to its nodes, an accepted execution ends once, explains its attempts and breaks no limit.

`./dev prove simulate --seeds 1000` runs that many clusters in virtual time, each from a seed of its own: nodes crash,
stop, lose answers and leases, clients cancel and retry, clocks jump. Each run is judged, and one in twenty is run again
and must replay bit for bit. A seed that fails is named; `--from SEED --seeds 1 --trace FILE` writes all that happened.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mainspring.testing.simulation import Plan, Report, simulate

REPLAYED = 20
"""Every so many-th seed is run twice."""


def run(seed: int, plan: Plan, *, keep_trace: bool = False) -> Report:
    """Return the report of one seed; one that does not replay is a problem of its own."""
    report = simulate(seed, plan, keep_trace=keep_trace)
    if seed % REPLAYED == 0 and simulate(seed, plan).digest != report.digest:
        report.problems.append("the same seed did not replay bit for bit")
    return report


def _arguments() -> argparse.Namespace:
    plan = Plan()
    parser = argparse.ArgumentParser(prog="./dev prove simulate", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many clusters (200)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--nodes", type=int, default=plan.nodes, help=f"nodes of each ({plan.nodes})")
    parser.add_argument(
        "--executions", type=int, default=plan.executions, help=f"asked for in each ({plan.executions})"
    )
    parser.add_argument(
        "--storm", type=float, default=plan.storm, help=f"virtual seconds of trouble ({plan.storm:.0f})"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="clusters at a time (one a core)")
    parser.add_argument("--trace", type=Path, help="write what happened under the first seed to this file")
    return parser.parse_args()


def _run_all(arguments: argparse.Namespace, plan: Plan, console: Console) -> list[Report]:
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    reports: list[Report] = []
    with (
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
        ProcessPoolExecutor(arguments.processes) as pool,
    ):
        task = progress.add_task(f"clusters of {plan.nodes} nodes", total=len(seeds))
        for report in pool.map(partial(run, plan=plan), seeds):
            reports.append(report)
            progress.advance(task)
            for problem in report.problems:
                progress.console.print(f"[red]seed {report.seed}:[/] {problem}", highlight=False)
    return reports


def main() -> int:
    """Print what happened in all, and return 1 where the claim does not hold."""
    arguments = _arguments()
    plan = Plan(nodes=arguments.nodes, executions=arguments.executions, storm=arguments.storm)
    console = Console()
    if arguments.trace is not None:
        report = run(arguments.first, plan, keep_trace=True)
        arguments.trace.write_text("\n".join(report.trace), encoding="utf-8")
        console.print(f"{report.events:,} events of seed {arguments.first} are in {arguments.trace}")
        reports = [report]
    else:
        reports = _run_all(arguments, plan, console)
    broken = [report for report in reports if report.problems]
    for name, total in (
        ("clusters", len(reports)),
        ("virtual hours", sum(report.seconds for report in reports) / 3600),
        ("executions accepted", sum(report.accepted for report in reports)),
        ("attempts", sum(report.claims for report in reports)),
        ("nodes crashed", sum(report.crashes for report in reports)),
        ("nodes stopped", sum(report.stops for report in reports)),
        ("events", sum(report.events for report in reports)),
        ("clusters with a problem", len(broken)),
    ):
        console.print(f"{name:26}{total:>14,.1f}" if isinstance(total, float) else f"{name:26}{total:>14,}")
    if broken:
        console.print(
            f"[red]the claim does not hold[/] for the seeds {', '.join(str(report.seed) for report in broken)}"
        )
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
