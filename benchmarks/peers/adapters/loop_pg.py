"""No library on PostgreSQL: one connection claims in batches, another one moves what has ended into the history."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from adapters.base import PG_URL, main, sync_count
from adapters.loop import BATCH, WIDTH, Loop

_TABLES = """
drop schema if exists public cascade;
create schema public;
create table live (
    id bigint generated always as identity primary key, queue text not null, name text not null,
    state smallint not null default 0, priority smallint not null default 0, run_at timestamptz not null default now(),
    attempt smallint not null default 0, worker int, lease timestamptz, payload text not null) with (fillfactor = 70);
create index live_ready on live (queue, priority, run_at, id) where state = 0;
create table history (
    id bigint not null, name text not null, attempt smallint not null, status smallint not null,
    started_at timestamptz not null, finished_at timestamptz);
create index history_job on history (name, started_at desc, id desc);
"""
_PUT = """
with put as (insert into live (queue, name, payload) values ('q', $1, $2) returning id)
select id, pg_notify('live', '') from put
"""
_CLAIM = """
update live l set state = 1, attempt = attempt + 1, worker = 7, lease = now() + interval '30s'
from (select id from live where queue = 'q' and state = 0 and run_at <= now()
      order by priority, run_at, id for update skip locked limit $1) s
where l.id = s.id returning l.id, l.name, l.attempt, l.payload
"""
_MOVE = """
with gone as (delete from live where id = any($1::bigint[]) and worker = 7 returning id, name, attempt)
insert into history (id, name, attempt, status, started_at, finished_at)
select gone.id, gone.name, gone.attempt, 2, ended.began, ended.ended
from gone join unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[]) ended (id, began, ended) using (id)
"""


class LoopOnPostgresql(Loop):
    """The least that an engine on PostgreSQL must do."""

    backend = "pg"
    settings = f"asyncpg, uvloop, batches of {BATCH}, {WIDTH} in flight, COPY"

    async def open(self) -> None:
        """Connect."""
        import asyncpg

        self.connection: Any = await asyncpg.connect(PG_URL)

    async def close(self) -> None:
        """Disconnect."""
        await self.connection.close()

    async def reset(self) -> None:
        """Make the tables anew."""
        await self.open()
        await self.connection.execute(_TABLES)
        await self.close()

    async def put(self, task: str, sent: float) -> None:
        """Insert one, and say so."""
        await self.connection.fetchrow(_PUT, task, json.dumps({"sent": sent}))

    async def put_many(self, task: str, n: int) -> None:
        """Copy five thousand at a time."""
        for start in range(0, n, 5000):
            rows = [("q", task, '{"sent": 0.0}')] * min(5000, n - start)
            async with self.connection.transaction():
                await self.connection.copy_records_to_table("live", records=rows, columns=["queue", "name", "payload"])
                await self.connection.execute("notify live")

    def remaining(self) -> int:
        """Count what has not ended."""
        return sync_count("select count(*) from live")

    async def worker(self) -> None:
        """Work until killed."""
        import asyncpg

        claiming, moving, listening = [await asyncpg.connect(PG_URL) for _ in range(3)]
        claim, wake = await claiming.prepare(_CLAIM), asyncio.Event()
        await listening.add_listener("live", lambda *_: wake.set())
        moves = asyncio.get_running_loop().create_task(self._move(await moving.prepare(_MOVE), wake))
        while not moves.done():
            room = WIDTH - self.running
            rows = await claim.fetch(min(room, BATCH)) if room >= BATCH // 2 else []
            self.start([tuple(row) for row in rows])
            if rows:
                await asyncio.sleep(0)
                continue
            try:
                await asyncio.wait_for(wake.wait(), 1.0)
            except TimeoutError:
                pass
            wake.clear()

    async def _move(self, move: Any, wake: asyncio.Event) -> None:  # noqa: ANN401 - a prepared statement
        while True:
            await self.ended.wait()
            self.ended.clear()
            while ends := self.taken_ends():
                began = [datetime.fromtimestamp(end[3], UTC) for end in ends]
                ended = [datetime.fromtimestamp(end[4], UTC) for end in ends]
                await move.fetch([end[0] for end in ends], began, ended)
                wake.set()


if __name__ == "__main__":
    main(LoopOnPostgresql)
