"""No library on SQLite: one transaction after the other writes all ends there are and claims the next batch."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

from adapters.base import HOME, main
from adapters.loop import BATCH, WIDTH, End, Loop, Row

FILE = HOME / "loop.db"
_LOOK_SECONDS = 0.005
_TABLES = """
create table live (
    id integer primary key, queue text not null, name text not null, state int not null default 0,
    priority int not null default 0, run_at real not null, attempt int not null default 0, worker int, lease real,
    payload text not null);
create index live_ready on live (queue, priority, run_at, id) where state = 0;
create table history (
    id integer not null, queue text not null, name text not null, attempt int, status int, started_at real,
    finished_at real, duration_us int, error text);
create index history_job on history (name, started_at desc);
"""
_PUT = "insert into live (queue, name, run_at, payload) values ('q', ?, ?, ?)"
_END = "insert into history values (?1, 'q', ?2, ?3, 2, ?4, ?5, cast((?5 - ?4) * 1e6 as int), null)"
_CLAIM = """
update live set state = 1, attempt = attempt + 1, worker = 7, lease = ?
where id in (select id from live where queue = 'q' and state = 0 and run_at <= ? order by priority, run_at, id limit ?)
returning id, name, attempt, payload
"""


def connect() -> sqlite3.Connection:
    """Open the file at the durability that is asked of everybody."""
    connection = sqlite3.connect(FILE, isolation_level=None, check_same_thread=False, cached_statements=64)
    for setting in ("journal_mode=wal", "synchronous=full", "busy_timeout=10000", "cache_size=-65536"):
        connection.execute(f"pragma {setting}")
    return connection


class LoopOnSqlite(Loop):
    """The least that an engine on a file must do."""

    backend = "sqlite"
    settings = f"sqlite3, WAL, synchronous=FULL, batches of {BATCH}, looks each 5 ms"

    def reset(self) -> None:
        """Make the file anew."""
        for file in HOME.glob("loop.db*"):
            file.unlink()
        connect().executescript(_TABLES)

    def open(self) -> None:
        """Open the file."""
        self.connection = connect()

    def put(self, task: str, sent: float) -> None:
        """Insert one."""
        self.connection.execute("begin immediate")
        self.connection.execute(_PUT, (task, time.time(), json.dumps({"sent": sent})))
        self.connection.execute("commit")

    def put_many(self, task: str, n: int) -> None:
        """Insert five thousand at a time."""
        for start in range(0, n, 5000):
            self.connection.execute("begin immediate")
            rows = [(task, time.time(), '{"sent": 0.0}')] * min(5000, n - start)
            self.connection.executemany(_PUT, rows)
            self.connection.execute("commit")

    def remaining(self) -> int:
        """Count what has not ended."""
        if not hasattr(self, "connection"):
            self.open()
        return self.connection.execute("select count(*) from live").fetchone()[0]

    async def worker(self) -> None:
        """Work until killed."""
        self.open()
        writer, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
        version, may_wait = None, True
        while True:
            ends = self.taken_ends()
            [seen] = self.connection.execute("pragma data_version").fetchone()
            may_wait, version = may_wait or seen != version, seen
            if ends or may_wait:
                room = min(BATCH, WIDTH - self.running) if may_wait else 0
                rows = await loop.run_in_executor(writer, self._write, ends, room)
                may_wait = bool(rows) or (may_wait and room <= 0)
                self.start(rows)
                await asyncio.sleep(0)
            elif not self.ends:
                await self._rest()

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self.ended.wait(), _LOOK_SECONDS)
        except TimeoutError:
            pass
        self.ended.clear()

    def _write(self, ends: list[End], room: int) -> list[Row]:
        connection, now = self.connection, time.time()
        connection.execute("begin immediate")
        if ends:
            connection.executemany(_END, ends)
            connection.executemany("delete from live where id = ?", [(end[0],) for end in ends])
        rows = connection.execute(_CLAIM, (now + 30, now, room)).fetchall() if room > 0 else []
        connection.execute("commit")
        return rows


if __name__ == "__main__":
    main(LoopOnSqlite)
