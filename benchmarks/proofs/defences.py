"""Claim: each attack of the tables is refused by a defence: with that removed, its row fails.

`./dev prove defences` copies the sources, takes one defence after another out of the copy, and runs the table that must
notice. A row that no removal breaks guards nothing, or is guarded twice, and a removal that breaks no row is a defence
that nothing holds up: the proof names both. Nothing leaves the machine, even where a defence against that is missing.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor  # noqa: TID251 - a proof, not a node: it waits for processes
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as Printed

from benchmarks.proofs.defence_removals import REMOVALS, REPOSITORY, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.proofs.defence_removals import Removal, Table

_NO_OUTSIDE: Final = """
import asyncio.base_events as base, socket
_connect = base.BaseEventLoop.create_connection

async def create_connection(self, factory, host=None, port=None, **options):
    if not str(host).startswith("127."):
        raise ConnectionRefusedError(f"{host} is beyond this machine")
    return await _connect(self, factory, host, port, **options)

base.BaseEventLoop.create_connection = create_connection
"""
"""A plugin of pytest for the copies: what is no longer refused is not sent either."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of a table went.

    Attributes:
        failed: Names of attacks that got through, or were refused in another way than they should be.
        passed: Names of attacks that were refused as they should be.
        is_peaceful: Whether the tests of what is allowed passed.
    """

    failed: frozenset[str]
    passed: frozenset[str]
    is_peaceful: bool


class Copies:
    """Copies of the sources, one for each run at a time: used again, so that nothing is compiled twice.

    Args:
        folder: Where they are.
        number: How many runs there are at a time.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for place in range(number):
            root = folder / str(place)
            for name in ("src", "tests"):
                shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(REPOSITORY / "pyproject.toml", root)
            (root / "no_outside.py").write_text(_NO_OUTSIDE, encoding="utf-8")
            self._free.put(root)

    def run(self, table: Table, removal: Removal | None) -> Rows:
        """Return how the rows of a table go without a defence."""
        with self._copy() as root, removal.applied(root) if removal else nullcontext():
            report = root / "report.xml"
            report.unlink(missing_ok=True)
            subprocess.run(  # noqa: S603 - our own tests
                [
                    *(sys.executable, "-m", "pytest", "-p", "no_outside", "-p", "no:randomly", "-n", "0", "-q"),
                    *("--tb=no", "--timeout=30", f"--junitxml={report}", *table.attacks, *table.peace),
                ],
                cwd=root,
                env=os.environ | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
                check=False,
                capture_output=True,
            )
            return _rows(report, table)

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        root = self._free.get()
        try:
            yield root
        finally:
            self._free.put(root)


def _rows(report: Path, table: Table) -> Rows:
    failed: set[str] = set()
    passed: set[str] = set()
    is_peaceful = report.exists()
    peaceful = {test.rpartition("::")[2] for test in table.peace}
    for case in ET.parse(report).iter("testcase") if is_peaceful else ():  # noqa: S314 - of our own making
        name = case.attrib["name"]
        went_wrong = case.find("failure") is not None or case.find("error") is not None
        if name.partition("[")[0] in peaceful:
            is_peaceful = is_peaceful and not went_wrong
        else:
            (failed if went_wrong else passed).add(name)
    return Rows(frozenset(failed), frozenset(passed), is_peaceful)


def _run_all(console: Console) -> tuple[dict[str, Rows], list[tuple[Removal, Rows]]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    at_a_time = os.cpu_count() or 1
    whole: dict[str, Rows] = {}
    broken: list[tuple[Removal, Rows]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=console) as progress,
        ThreadPoolExecutor(at_a_time) as pool,
    ):
        bar = progress.add_task("defences removed", total=len(TABLES) + len(REMOVALS))
        copies = Copies(Path(folder), at_a_time)
        for table, rows in zip(TABLES, pool.map(lambda table: copies.run(table, None), TABLES), strict=True):
            whole[table.title] = rows
            progress.advance(bar)
        for removal, rows in zip(REMOVALS, pool.map(lambda it: copies.run(it.table, it), REMOVALS), strict=True):
            broken.append((removal, rows))
            progress.advance(bar)
    return whole, broken


def problems_of(whole: dict[str, Rows], broken: Sequence[tuple[Removal, Rows]]) -> list[str]:
    """Return what speaks against the claim."""
    problems = [
        f"{title}: with every defence in place fails {', '.join(sorted(rows.failed)) or 'what is allowed'}"
        for title, rows in whole.items()
        if rows.failed or not rows.is_peaceful
    ]
    for removal, rows in broken:
        if not rows.failed:
            problems.append(f"{removal.table.title}: nothing fails without {removal.defence}")
        if not rows.is_peaceful:
            problems.append(f"{removal.table.title}: what is allowed fails, too, without {removal.defence}")
    for table in TABLES:
        held_up = {row for removal, rows in broken if removal.table is table for row in rows.failed}
        idle = sorted(whole[table.title].passed - held_up)
        problems += [f"{table.title}: no removal breaks {row}" for row in idle]
    return problems


def _table(whole: dict[str, Rows], broken: Sequence[tuple[Removal, Rows]]) -> Printed:
    removals = Counter(removal.table.title for removal, _ in broken)
    printed = Printed("table", "attacks", "defences removed", "fewest rows broken", "most")
    for title, rows in whole.items():
        counts = [len(result.failed) for removal, result in broken if removal.table.title == title]
        printed.add_row(title, str(len(rows.passed)), str(removals[title]), str(min(counts)), str(max(counts)))
    return printed


def main() -> int:
    """Run the proof and return its exit code."""
    console = Console()
    whole, broken = _run_all(console)
    console.print(_table(whole, broken))
    problems = problems_of(whole, broken)
    for problem in problems:
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
