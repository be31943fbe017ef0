"""SQLite's signal between processes: told by the system where it tells of writes, else found by looking."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, SupportsIndex

import pytest

from mainspring.store.engine import data_version
from mainspring.store.engine.data_version import DataVersionSignals
from mainspring.store.engine.file_writes import FileWrites
from mainspring.store.engine.signals import WORK, Signals
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from mainspring.store.engine.signals import Wakeup

LONG = 10.0
NEVER = 3_600.0
WORLD = RealWorld()


@pytest.fixture
def other(tmp_path: Path) -> Generator[sqlite3.Connection]:
    """The connection of another process to a file."""
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table things (name text)")
        yield connection


@asynccontextmanager
async def watched(path: Path, *, busy: float, quiet: float) -> AsyncGenerator[Wakeup]:
    """What is woken by commits to the file, once the look at the start is over."""
    signals = Signals(WORLD)
    wakeup = signals.wakeup(WORK)
    watching = DataVersionSignals(str(path / "store.db"), signals, world=WORLD, busy=busy, quiet=quiet)
    try:
        assert await wakeup.sleep(LONG)
        yield wakeup
    finally:
        await watching.close()


async def test_a_commit_is_heard_of_and_not_looked_for(other: sqlite3.Connection, tmp_path: Path) -> None:
    async with watched(tmp_path, busy=NEVER, quiet=NEVER) as wakeup:
        for _ in range(3):
            other.execute("insert into things values ('one')")
            assert await wakeup.sleep(LONG)


async def test_where_the_system_tells_nothing_a_look_finds_it(
    other: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: str) -> FileWrites:
        raise OSError

    monkeypatch.setattr(data_version, "FileWrites", refuse)
    async with watched(tmp_path, busy=0.001, quiet=0.001) as wakeup:
        other.execute("insert into things values ('one')")
        assert await wakeup.sleep(LONG)


class Writes:
    """What the system tells of a file, as the test wants it.

    Attributes:
        told: Whether each wait ends with a write; after the last one nobody writes any more.
        within: How long each of them was to take at most.
    """

    def __init__(self, told: list[bool]) -> None:
        self.told = told
        self.within: list[float] = []

    async def next(self, within: float) -> bool:
        """Return what is told next."""
        if not self.told:
            await WORLD.sleep(NEVER)
        self.within.append(within)
        await WORLD.sleep(0)
        return self.told.pop(0)

    def close(self) -> None:
        """Hold nothing."""


class CommitsBeforeTheLast(list[bool]):
    """What is told, the last but one time of a commit."""

    def __init__(self, told: list[bool], other: sqlite3.Connection) -> None:
        super().__init__(told)
        self._other = other

    def pop(self, place: SupportsIndex = -1) -> bool:
        """Commit, where it is time."""
        if len(self) == 2:
            self._other.execute("insert into things values ('one')")
        return super().pop(place)


class Naps(RealWorld):
    """A world that notes how long somebody wants to sleep, and wakes him at once."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)
        await super().sleep(0)


async def looks_after(told: list[bool], path: Path, patch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """Return how long is slept, and how long waited for writes, while nobody commits."""
    writes = Writes(told)

    def open_writes(_path: str) -> Writes:
        return writes

    patch.setattr(data_version, "FileWrites", open_writes)
    world = Naps()
    watching = DataVersionSignals(str(path / "store.db"), Signals(world), world=world)
    while told:
        await WORLD.sleep(0)
    await watching.close()
    return world.slept[1:], writes.within[1:]


@pytest.mark.usefixtures("other")
async def test_a_commit_that_the_disk_takes_long_for_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, within = await looks_after([True, *[False] * 11], tmp_path, monkeypatch)
    assert slept == [0.001]
    assert within == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0]


@pytest.mark.usefixtures("other")
async def test_a_long_transaction_is_looked_after_more_and_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, _ = await looks_after([True] * 8, tmp_path, monkeypatch)
    assert slept == [0.001, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02, 0.02]


async def test_after_a_commit_the_next_one_is_followed_at_once_again(
    other: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = CommitsBeforeTheLast([True] * 4, other)
    slept, _ = await looks_after(told, tmp_path, monkeypatch)
    assert slept == [0.001, 0.002, 0.004, 0.01, 0.001]


@pytest.mark.usefixtures("other")
async def test_after_a_pause_a_write_is_followed_at_once_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept, _ = await looks_after([True, True, True, False, True, False], tmp_path, monkeypatch)
    assert slept == [0.001, 0.002, 0.004, 0.001]


async def test_a_write_is_told_once_and_also_if_nobody_listened_yet(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    writes = FileWrites(str(file))
    with closing(writes):
        assert not await writes.next(within=0.001)
        file.write_text("something")
        assert await writes.next(within=LONG)
        assert not await writes.next(within=0.001)


def test_other_systems_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(OSError, match="this system has no inotify"):
        FileWrites(str(tmp_path))


def test_a_file_that_is_not_there_cannot_be_listened_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="inotify does not watch it"):
        FileWrites(str(tmp_path / "nothing"))
