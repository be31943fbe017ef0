"""The figures of a soak: what the system says of the processes, and the database of itself."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.store.tables import executions, executions_live
from tests.cluster.soak_judge import Limit, Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.store.engine.database import Connection

_MEBIBYTE: Final = 2**20
HOT_TABLES: Final = ("executions_live", "nodes", "locks", "notifications", "rollup_marks")
LIMITS: Final = {
    "resident memory": ("MiB", Limit(share=0.02, least=1.5)),
    "open descriptors": ("", Limit(share=0.0, least=3.0)),
    "threads": ("", Limit(share=0.0, least=2.0)),
    "processes below it": ("", Limit(share=0.0, least=2.0)),
    "zombies below it": ("", Limit(share=0.0, least=0.5)),
    "tasks": ("", Limit(share=0.1, least=5.0)),
    "connections": ("", Limit(share=0.0, least=2.0)),
    "live executions": ("rows", Limit(share=0.5, least=50.0)),
    "ended executions": ("rows", Limit(share=0.2, least=500.0)),
    "dead rows of hot tables": ("rows", Limit(share=0.5, least=5_000.0)),
    "size of hot tables": ("MiB", Limit(share=0.2, least=1.0)),
    "write-ahead log": ("MiB", Limit(share=0.5, least=8.0)),
    "export files": ("", Limit(share=0.2, least=40.0)),
}


class Figures:
    """Every figure that was ever taken, by name."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def take(self, kind: str, of: str, at: float, value: float) -> None:
        """Keep one.

        Args:
            kind: One of `LIMITS`.
            of: Whose it is; nothing: of the whole.
            at: Seconds since the begin.
            value: It.
        """
        name = f"{kind}, {of}" if of else kind
        unit, limit = LIMITS[kind]
        self.series.setdefault(name, Series(name, unit, limit)).points.append((at, value))


@dataclass(frozen=True, slots=True)
class Process:
    """One process as the system sees it."""

    pid: int
    parent: int
    state: str


def processes() -> dict[int, Process]:
    """Return all that run or wait to be reaped."""
    found: dict[int, Process] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (said := _read(folder / "stat")) is not None:
            state, parent, *_ = said.rpartition(")")[2].split()
            found[int(folder.name)] = Process(int(folder.name), int(parent), state)
    return found


def below(pid: int, all_of_them: dict[int, Process]) -> Iterator[Process]:
    """Return what a process has started, and what that has started."""
    children: defaultdict[int, list[Process]] = defaultdict(list)
    for process in all_of_them.values():
        children[process.parent].append(process)
    waiting = children[pid]
    while waiting:
        process = waiting.pop()
        yield process
        waiting.extend(children[process.pid])


def of_a_node(figures: Figures, name: str, pid: int, at: float) -> None:
    """Take what the system says of a node."""
    started = list(below(pid, processes()))
    status = dict(line.split(":", 1) for line in (_read(Path(f"/proc/{pid}/status")) or "").splitlines())
    figures.take("resident memory", name, at, int(status["VmRSS"].split()[0]) * 1024 / _MEBIBYTE)
    figures.take("threads", name, at, int(status["Threads"]))
    figures.take("open descriptors", name, at, len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - only counted
    figures.take("processes below it", name, at, len(started))
    figures.take("zombies below it", name, at, sum(process.state == "Z" for process in started))


_LIVE = sa.select(sa.func.count()).select_from(executions_live)
_ENDED = sa.select(sa.func.count()).select_from(executions)
_CONNECTIONS = sa.text("select count(*) from pg_stat_activity where datname = current_database()")
_DEAD = sa.text("select coalesce(sum(n_dead_tup), 0) from pg_stat_user_tables where relname = any(:names)")
_SIZE = sa.text(
    "select coalesce(sum(pg_total_relation_size(relid)), 0) from pg_stat_user_tables where relname = any(:names)"
)


def of_the_store(connection: Connection, figures: Figures, at: float) -> None:
    """Take what the store says of itself."""

    def scalar(statement: sa.Executable, **given: Any) -> float:
        return float(connection.execute(statement, given).scalar_one())

    figures.take("live executions", "", at, scalar(_LIVE))
    figures.take("ended executions", "", at, scalar(_ENDED))
    if connection.dialect.name == "postgresql":
        names = list(HOT_TABLES)
        figures.take("connections", "", at, scalar(_CONNECTIONS))
        figures.take("dead rows of hot tables", "", at, scalar(_DEAD, names=names))
        figures.take("size of hot tables", "", at, scalar(_SIZE, names=names) / _MEBIBYTE)


def of_files(figures: Figures, exports: Path, log: Path | None, at: float) -> None:
    """Take how many files exports have left, and how long SQLite's write-ahead log is."""
    figures.take("export files", "", at, sum(1 for _ in exports.rglob("*")))
    if log is not None and log.exists():
        figures.take("write-ahead log", "", at, log.stat().st_size / _MEBIBYTE)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return None
