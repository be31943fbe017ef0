"""Claim: mainspring is at least as fast as pgqueuer on PostgreSQL, and a third as fast as a bare loop on SQLite.

`./dev prove peers` installs each library in an environment of its own, starts one PostgreSQL and one Valkey, and lets
all of them do the same in turns: enqueue, drain a backlog of jobs that do nothing, and wait for work. Each has the
settings that its documentation gives for speed, and keeps results or history where it can; both databases acknowledge
only what is on the disk. What is compared ran in the same run. `--peers` chooses among them, which leaves claims about
others open.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from benchmarks.peers.environments import PEERS
from benchmarks.peers.measure import Bench, MeasurementError
from benchmarks.peers.servers import running_servers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers.measure import Figures

    Rounds = Mapping[str, Sequence[Figures]]


@dataclass(frozen=True, slots=True)
class Claim:
    """That one peer drains at least so many times as fast as another one."""

    ours: str
    theirs: str
    ratio: float


CLAIMS: Final = (
    Claim("mainspring_pg", "pgqueuer", 1.0),
    Claim("mainspring_sqlite", "loop_sqlite", 1 / 3),
    Claim("mainspring_pg", "chancy", 1.5),
    Claim("mainspring_pg", "procrastinate", 10.0),
    Claim("mainspring_sqlite", "huey_sqlite", 2.0),
    *(Claim("mainspring_pg", name, 2.0) for name in ("arq", "celery", "dramatiq", "huey", "rq", "taskiq")),
)
_BAR_WIDTH: Final = 24
_LEAST_WIDTH: Final = 110


def drained(rounds: Sequence[Figures]) -> float:
    """Return the median of the drains, in jobs a second."""
    return median(figures.drained for figures in rounds)


def table_of(measured: Rounds) -> Table:
    """Return everything that was measured, the fastest drain first."""
    table = Table(box=None, header_style="bold")
    table.add_column("peer", no_wrap=True)
    for heading in (
        "enqueue/s", "bulk/s", "drain/s", "worker ms", "server ms", "p50 ms", "p99 ms", "idle %", "MB", "start s",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for name, rounds in sorted(measured.items(), key=lambda item: -drained(item[1])):
        table.add_row(name, *_cells(rounds), style="green" if name.startswith("mainspring") else "")
    return table


def _cells(rounds: Sequence[Figures]) -> list[str]:
    first = rounds[0]
    bulk = [figures.enqueued_in_bulk for figures in rounds if figures.enqueued_in_bulk is not None]
    server = [figures.service_cpu_ms for figures in rounds if figures.service_cpu_ms is not None]
    waits = first.latencies_ms
    return [
        f"{median(figures.enqueued for figures in rounds):,.0f}",
        f"{median(bulk):,.0f}" if bulk else "–",
        f"{drained(rounds):,.0f}",
        f"{median(figures.worker_cpu_ms for figures in rounds):.3f}",
        f"{median(server):.3f}" if server else "–",
        f"{waits[len(waits) // 2]:.1f}" if waits else "–",
        f"{waits[min(len(waits) - 1, len(waits) * 99 // 100)]:.1f}" if waits else "–",
        f"{first.idle_cpu_share * 100:.1f}" if waits else "–",
        f"{first.memory_mb:.0f}" if waits else "–",
        f"{first.start_seconds:.2f}" if waits else "–",
    ]


def verdict(measured: Rounds, console: Console) -> bool:
    """Say for each claim how it stands, and return whether all hold whose sides were both measured."""
    table = Table(box=None, header_style="bold")
    table.add_column("claim", no_wrap=True)
    table.add_column("")
    table.add_column("drains", justify="right")
    table.add_column("at least", justify="right")
    holds = True
    for claim in CLAIMS:
        if claim.ours in measured and claim.theirs in measured:
            ratio = drained(measured[claim.ours]) / drained(measured[claim.theirs])
            holds &= ratio >= claim.ratio
            colour = "green" if ratio >= claim.ratio else "red"
            bar = ProgressBar(total=2 * claim.ratio, completed=ratio, width=_BAR_WIDTH, complete_style=colour)
            said = f"[{colour}]{ratio:.2f}×[/]"
            table.add_row(f"{claim.ours} beside {claim.theirs}", bar, said, f"{claim.ratio:.2f}×")
    console.print(table)
    return holds


def run(names: Sequence[str], *, rounds: int, seconds: float, console: Console) -> Rounds:
    """Measure peers in turns, so that a busy moment of the machine falls on all of them."""
    for name in names:
        console.print(f"[dim]environment of {name}[/]")
        PEERS[name].prepare()
    measured: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="mainspring-peers-") as folder:
        Path(folder).chmod(0o755)
        with running_servers(Path(folder)) as servers:
            bench = Bench(Path(folder), servers)
            for name in names:
                console.print(f"{name}: {bench.settings_of(PEERS[name])}", style="dim", highlight=False)
            for number in range(rounds):
                for name in names:
                    figures = bench.measure(PEERS[name], seconds=0 if number else seconds)
                    measured.setdefault(name, []).append(figures)
                    console.print(f"round {number + 1}: {name} drains {figures.drained:,.0f}/s", highlight=False)
    return measured


def main() -> int:
    """Print what was measured, and return 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(prog="./dev prove peers", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="who is measured (all)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each drains (3)")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long latency is looked at (15); 0: not at all")
    arguments = parser.parse_args()
    console = Console(width=max(_LEAST_WIDTH, Console().width))
    try:
        measured = run(arguments.peers, rounds=arguments.rounds, seconds=arguments.seconds, console=console)
    except MeasurementError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 1
    console.print(table_of(measured))
    return 0 if verdict(measured, console) else 1


if __name__ == "__main__":
    sys.exit(main())
