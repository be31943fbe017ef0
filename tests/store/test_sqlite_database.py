"""SQLite: one writer that commits for everybody who waits, several processes on one file, files that are none."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError as ConstraintError

from mainspring.errors import DatabaseUnreachableError, IntegrityError
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.tables import limits
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainspring.store.engine.database import Database


def database_at(path: Path | str, world: RealWorld) -> SqliteDatabase:
    return SqliteDatabase(f"sqlite:///{path}", schema="mainspring", world=world, clock_shift=lambda: 0.0)


def insert(key: str) -> Callable[[sa.Connection], object]:
    def work(connection: sa.Connection) -> object:
        return connection.execute(sa.insert(limits).values(environment="test", key=key)).rowcount

    return work


async def keys(database: Database) -> set[str]:
    return await database.read(lambda connection: set(connection.execute(sa.select(limits.c.key)).scalars()))


async def grouped(database: Database, *works: Callable[[sa.Connection], Any]) -> list[Any]:
    """Run functions in one group: while the writer is held up, they all come to wait."""
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(_connection: sa.Connection) -> None:
        entered.set()
        go_on.wait()

    first = asyncio.ensure_future(database.tx(hold_up))  # noqa: TID251 - the test's own task
    await asyncio.get_running_loop().run_in_executor(None, entered.wait)
    rest = [asyncio.ensure_future(database.tx(work)) for work in works]  # noqa: TID251 - the same
    await asyncio.wait_for(asyncio.gather(*(asyncio.shield(asyncio.wait({task}, timeout=0)) for task in rest)), 5)
    go_on.set()
    await first
    return await asyncio.gather(*rest, return_exceptions=True)


# ---- Group commit ---------------------------------------------------------------------------------------------------


async def test_all_that_wait_share_one_commit(sqlite: Database) -> None:
    def is_nested(connection: sa.Connection) -> bool:
        return connection.in_nested_transaction()

    assert await grouped(sqlite, *[is_nested] * 5) == [True] * 5


async def test_what_comes_while_a_function_runs_shares_its_commit(sqlite: Database) -> None:
    commits: list[sa.Connection] = []
    count = commits.append
    event.listen(sa.Engine, "commit", count)
    try:
        await grouped(sqlite, insert("a"), insert("b"))
    finally:
        event.remove(sa.Engine, "commit", count)
    assert len(commits) == 1
    assert await keys(sqlite) == {"a", "b"}


async def test_what_fails_alone_is_tried_once(sqlite: Database) -> None:
    tries: list[sa.Connection] = []

    def fail(connection: sa.Connection) -> None:
        tries.append(connection)
        raise LookupError

    with pytest.raises(LookupError):
        await sqlite.tx(fail)
    assert len(tries) == 1


async def test_a_read_that_waited_for_another_sees_what_was_committed_meanwhile(sqlite: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def look_and_hold_up(connection: sa.Connection) -> set[str]:
        seen = set(connection.execute(sa.select(limits.c.key)).scalars())
        entered.set()
        go_on.wait()
        return seen

    first = asyncio.ensure_future(sqlite.read(look_and_hold_up))  # noqa: TID251 - the test's own task
    await asyncio.get_running_loop().run_in_executor(None, entered.wait)
    second = asyncio.ensure_future(keys(sqlite))  # noqa: TID251 - the same
    await sqlite.tx(insert("new"))
    go_on.set()
    assert (await first, await second) == (set(), {"new"})


async def test_one_failure_in_a_group_does_not_spoil_the_others(sqlite: Database) -> None:
    def fail(connection: sa.Connection) -> None:
        insert("undone")(connection)
        raise LookupError

    twice = insert("a")
    good, wrong, again, last = await grouped(sqlite, twice, fail, twice, insert("b"))
    assert isinstance(wrong, LookupError)
    assert isinstance(again, ConstraintError)
    assert not isinstance(good, BaseException)
    assert not isinstance(last, BaseException)
    assert await keys(sqlite) == {"a", "b"}


async def test_a_group_whose_transaction_is_lost_to_one_is_run_again_one_by_one(sqlite: Database) -> None:
    def lose_everything(connection: sa.Connection) -> None:
        # What SQLite itself does when the disk is full.
        cast("sqlite3.Connection", connection.connection.driver_connection).execute("rollback")
        raise LookupError

    _, lost, _ = await grouped(sqlite, insert("a"), lose_everything, insert("b"))
    assert isinstance(lost, LookupError)
    assert await keys(sqlite) == {"a", "b"}


async def test_what_was_cancelled_before_its_turn_is_not_done(sqlite: Database) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(_connection: sa.Connection) -> None:
        entered.set()
        go_on.wait()

    first = asyncio.ensure_future(sqlite.tx(hold_up))  # noqa: TID251 - the test's own task
    await asyncio.get_running_loop().run_in_executor(None, entered.wait)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sqlite.tx(insert("cancelled")), 0.001)
    go_on.set()
    await first
    await sqlite.tx(insert("kept"))
    assert await keys(sqlite) == {"kept"}


async def test_what_waits_is_done_before_the_file_is_closed(sqlite: Database, world: RealWorld) -> None:
    waiting = [asyncio.ensure_future(sqlite.tx(insert(str(number)))) for number in range(50)]  # noqa: TID251
    await asyncio.wait(waiting, timeout=0)
    await sqlite.close()
    await asyncio.gather(*waiting)
    again = database_at(cast("Any", sqlite).path, world)
    await again.open()
    assert len(await keys(again)) == 50
    await again.close()


async def test_a_read_cannot_write(sqlite: Database) -> None:
    with pytest.raises(DatabaseUnreachableError, match="readonly"):
        await sqlite.read(insert("forbidden"))


async def test_commits_are_durable(sqlite: Database) -> None:
    def synchronous(connection: sa.Connection) -> int:
        return connection.exec_driver_sql("pragma synchronous").scalar_one()

    assert await sqlite.tx(synchronous) == 2


async def test_the_log_may_grow_to_sixteen_megabytes_before_a_commit_copies_it(sqlite: Database) -> None:
    def log_bytes(connection: sa.Connection) -> int:
        (page,) = connection.exec_driver_sql("pragma page_size").one()
        (pages,) = connection.exec_driver_sql("pragma wal_autocheckpoint").one()
        return page * pages

    assert await sqlite.tx(log_bytes) == 4096 * 4000


async def test_a_read_does_not_wait_for_a_writer_and_sees_nothing_of_it(sqlite: Database) -> None:
    def write_and_meanwhile_read(connection: sa.Connection) -> set[str]:
        insert("uncommitted")(connection)
        return asyncio.run_coroutine_threadsafe(keys(sqlite), loop).result()

    loop = asyncio.get_running_loop()
    assert await sqlite.tx(write_and_meanwhile_read) == set()
    assert await keys(sqlite) == {"uncommitted"}


# ---- Several processes ----------------------------------------------------------------------------------------------

COUNT = """
import asyncio, sys
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError as ConstraintError
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.tables import fences
from mainspring.world import RealWorld

async def main(path, times):
    database = SqliteDatabase(f"sqlite:///{path}", schema="mainspring", world=RealWorld(), clock_shift=lambda: 0.0)
    await database.open()
    add = sa.update(fences).values(value=fences.c.value + 1).returning(fences.c.value)
    for _ in range(times):
        print(await database.tx(lambda connection: connection.execute(add).scalar_one()))
    await database.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_several_processes_write_to_one_file_one_after_the_other(migrated_sqlite_file: Path, tmp_path: Path) -> None:
    path = shutil.copy(migrated_sqlite_file, tmp_path / "shared.db")
    times = 150
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNT, path, str(times)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    turns = [[int(turn) for turn in process.communicate(timeout=50)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(turn for own in turns for turn in own) == list(range(1, 3 * times + 1))


class PausesCounted(RealWorld):
    """A world that notes how often a thread was blocked on purpose, and whose time stands still until it is moved."""

    pauses = 0
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        super().pause(seconds)


async def test_a_writer_leaves_a_gap_where_others_write_and_only_there(
    migrated_sqlite_file: Path, tmp_path: Path
) -> None:
    world = PausesCounted()
    shutil.copy(migrated_sqlite_file, tmp_path / "shared.db")
    mine, other = database_at(tmp_path / "shared.db", world), database_at(tmp_path / "shared.db", RealWorld())
    await mine.open()
    await other.open()
    for number in range(5):
        await mine.tx(insert(f"mine {number}"))
    assert world.pauses == 0
    await other.tx(insert("other"))
    await mine.tx(insert("before the next look"))
    assert world.pauses == 0
    world.seconds = 0.1
    for number in range(5, 8):
        await mine.tx(insert(f"mine {number}"))
    await mine.close()
    await other.close()
    assert world.pauses >= 3


# ---- Files that are none --------------------------------------------------------------------------------------------


async def test_a_file_that_is_no_database_is_named(tmp_path: Path, world: RealWorld) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(IntegrityError, match=r"notes\.db is not an SQLite database"):
        await database_at(path, world).open()
    assert path.read_text().startswith("these are my notes")


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    connection = sqlite3.connect(path)
    (page,) = connection.execute("select rootpage from sqlite_master where name = ?", (table,)).fetchone()
    (size,) = connection.execute("pragma page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


async def test_a_damaged_file_is_named_where_the_damage_is_met(
    migrated_sqlite_file: Path, tmp_path: Path, world: RealWorld
) -> None:
    path = tmp_path / "damaged.db"
    shutil.copy(migrated_sqlite_file, path)
    damage(path, "mainspring_limits")
    database = database_at(path, world)
    await database.open()
    for use in (database.tx, database.read):
        with pytest.raises(IntegrityError, match=r"damaged\.db"):
            await use(lambda connection: connection.execute(sa.select(limits)).all())
    both = await grouped(database, insert("a"), lambda connection: connection.exec_driver_sql("select 1").scalar_one())
    assert isinstance(both[0], IntegrityError)
    assert both[1] == 1
    await database.close()


async def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path, world: RealWorld) -> None:
    with pytest.raises(DatabaseUnreachableError, match=str(tmp_path)):
        await database_at(tmp_path, world).open()
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseUnreachableError, match=r"file/store\.db"):
        await database_at(tmp_path / "file" / "store.db", world).open()


async def test_a_missing_folder_is_made(tmp_path: Path, world: RealWorld) -> None:
    path = tmp_path / "new folder" / "100% mine.db"
    database = database_at(path, world)
    await database.open()
    await schema.upgrade(database)
    await database.close()
    assert path.exists()


async def test_a_file_that_another_program_holds_for_long_is_waited_for(sqlite: Database) -> None:
    other = sqlite3.connect(cast("Any", sqlite).path, isolation_level=None)
    other.execute("begin immediate")
    waiting = asyncio.ensure_future(sqlite.tx(insert("patient")))  # noqa: TID251 - the test's own task
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    other.execute("rollback")
    await waiting
    other.close()
    assert await keys(sqlite) == {"patient"}


async def test_a_database_in_memory_needs_no_file(world: RealWorld) -> None:
    database = SqliteDatabase("sqlite://", schema="other", world=world, clock_shift=lambda: 0.0)
    await database.open()
    await schema.upgrade(database)
    await database.tx(insert("volatile"))
    assert await keys(database) == {"volatile"}
    await database.close()
