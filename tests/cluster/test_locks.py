"""Locks between real processes: who holds one is alone, whatever happens to Valkey; and what only the fence can do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mainspring import distributed_lock
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper
from mainspring.settings import Settings
from mainspring.store.engine.database import open_database
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld
from tests.cluster.lock_holder import contend, enter, open_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mainspring.locks.backend import LockBackend
    from tests.valkey import Valkey

PROGRAM = Path(__file__).with_name("lock_holder.py")


@dataclass
class Site:
    """Where locks are written down, and the ledger that they guard."""

    database_url: str
    redis_url: str
    ledger: Path

    def start(self, what: str, ttl: float) -> subprocess.Popen[str]:
        """Start a process that takes the lock."""
        arguments = [what, self.database_url, self.redis_url, str(ttl), str(self.ledger)]
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def open_backend(self) -> LockBackend:
        """Return what these processes ask, for this one."""
        return await open_backend(self.database_url, self.redis_url)

    def entries(self) -> list[tuple[str, int, int]]:
        """Return what was written: the word, the fence, the process."""
        lines = (line.split() for line in self.ledger.read_text(encoding="utf-8").splitlines())
        return [(word, int(fence), int(process)) for word, fence, process in lines]


async def upgrade(url: str) -> str:
    """Bring a store to the present schema."""
    database = open_database(Settings(database_url=url), RealWorld())
    await database.open()
    await schema.upgrade(database)
    await database.close()
    return url


@pytest.fixture(scope="module")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return asyncio.run(upgrade(f"sqlite:///{tmp_path_factory.mktemp('locks')}/store.db"))


@pytest.fixture(scope="module")
def postgresql_locks_url(new_postgresql_url: Callable[[str], str]) -> str:
    return new_postgresql_url("locks")


@pytest.fixture(params=["sqlite", "postgresql", "valkey", "valkey before sqlite"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    database_url = redis_url = ""
    if "valkey" in request.param:
        redis_url = request.getfixturevalue("valkey").url
    if "sqlite" in request.param:
        database_url = request.getfixturevalue("sqlite_url")
    if "postgresql" in request.param:
        database_url = request.getfixturevalue("postgresql_locks_url")
    return Site(database_url, redis_url, tmp_path / "ledger")


@pytest.fixture
def storm(valkey: Valkey) -> Generator[Callable[[], None]]:
    """What begins to empty the server over and over, until the test has ended."""
    over = threading.Event()

    def flush_on() -> None:
        with valkey.client as client:
            while not over.wait(0.05):
                client.flushall()

    thread = threading.Thread(target=flush_on)  # noqa: TID251 - of the test itself
    yield thread.start
    over.set()
    if thread.is_alive():
        thread.join()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def fence_of(process: subprocess.Popen[str]) -> int:
    return int(line_of(process).removeprefix("held "))


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=50)


async def test_of_many_contenders_one_is_at_work_and_fences_only_rise(site: Site, storm: Callable[[], None]) -> None:
    other = site.start("contend", 5)
    assert line_of(other) == "ready"
    if site.redis_url and site.database_url:
        storm()
    tell(other)
    async with in_force(LockKeeper(RealWorld(), site.open_backend)):
        await contend(site.ledger, 5)
    await asyncio.get_running_loop().run_in_executor(None, end, other)
    assert other.returncode == 0

    entries = site.entries()
    turns = list(zip(entries[::2], entries[1::2], strict=True))
    assert len(turns) > 10
    for (began, fence, process), (ended, same_fence, same_process) in turns:
        assert (began, ended, same_fence, same_process) == ("begin", "end", fence, process)
    fences = [fence for (_, fence, _), _ in turns]
    assert fences == sorted(set(fences))
    assert {process for _, _, process in entries} == {os.getpid(), other.pid}


async def test_neither_a_frozen_nor_a_killed_holder_keeps_the_lock_and_the_fence_keeps_them_out(site: Site) -> None:
    frozen, killed = site.start("hold", 0.6), site.start("hold", 0.6)
    assert (line_of(frozen), line_of(killed)) == ("ready", "ready")
    tell(frozen)
    fences = [fence_of(frozen)]
    frozen.send_signal(signal.SIGSTOP)
    tell(killed)
    fences.append(fence_of(killed))
    killed.kill()
    async with (
        in_force(LockKeeper(RealWorld(), site.open_backend)),
        distributed_lock("ledger", ttl=20, wait=30) as held,
    ):
        fences.append(held.fence)
        assert enter(site.ledger, "write", held.fence)
    frozen.send_signal(signal.SIGCONT)
    assert [line_of(frozen), line_of(frozen)] == ["refused", "lost"]
    end(frozen)
    end(killed)
    assert (frozen.returncode, killed.returncode) == (0, -signal.SIGKILL)
    assert fences == sorted(set(fences))
    assert site.entries() == [("write", fences[-1], os.getpid())]
