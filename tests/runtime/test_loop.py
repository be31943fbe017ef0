"""Loops turn together, sleep while there can be nothing to do, and cost an idle node little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring import Mainspring
from mainspring.runtime.loop import IDLE_SECONDS, Loop, Turn
from mainspring.store.engine.signals import Wakeup
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.testing.simulation.virtual_time import run_in_virtual_time
from mainspring.testing.simulation.world import Chance, SimulatedWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from mainspring.store.engine.database import Connection

IDLE_LOOKS_A_SECOND = 7.05
"""Transactions and reads of an idle node with all roles. Each is a hop to another thread and back, and those hops are
what an idle node costs: seven of them, and a wake-up of the event loop for what they share, are 0.95 % of a core."""


class Turns:
    """Counts the turns of a loop, with their instants."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.instants: list[float] = []
        self._world = world

    async def run_once(self) -> Turn:
        self.instants.append(round(self._world.monotonic(), 6))
        return Turn()


def run_loop(
    seconds: float,
    *,
    interval: float = 1.0,
    begin: float = 0.0,
    phase: float = 0.0,
    is_idle: Callable[[], bool] = lambda: False,
    wake_at: float | None = None,
) -> list[float]:
    """Return the instants of a loop's turns."""

    async def main() -> list[float]:
        world = SimulatedWorld(Chance(1))
        await world.sleep(begin)
        turns, wakeup = Turns(world), Wakeup()
        loop = Loop("test", turns.run_once, interval=interval, world=world, wakeup=wakeup, is_idle=is_idle, phase=phase)
        task = world.spawn(loop.run(), name="loop")
        if wake_at is not None:
            await world.sleep(wake_at - begin)
            wakeup.set()
        await world.sleep(seconds - world.monotonic())
        loop.stop()
        await task
        return turns.instants[:-1] if turns.instants[-1] == seconds else turns.instants

    return run_in_virtual_time(main())


def test_loops_of_one_interval_turn_at_the_same_instants_whenever_they_began() -> None:
    assert run_loop(4.5, begin=0.2)[1:] == run_loop(4.5, begin=0.4)[1:] == [1.0, 2.0, 3.0, 4.0]


def test_nodes_differ_in_their_phase() -> None:
    assert run_loop(3.9, begin=0.25, phase=0.25)[1:] == [1.25, 2.25, 3.25]


def test_a_turn_just_before_its_instant_is_not_followed_by_another_at_once() -> None:
    assert run_loop(3.5, begin=0.999)[1:] == [2.0, 3.0]


def test_an_idle_loop_sleeps_until_it_is_woken() -> None:
    assert run_loop(14.0, is_idle=lambda: True) == [0.0, IDLE_SECONDS, 2 * IDLE_SECONDS]
    assert run_loop(4.5, is_idle=lambda: True, wake_at=1.7) == [0.0, 1.7]


def test_an_idle_node_seldom_looks_into_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def main() -> float:
        app = Mainspring(world=SimulatedWorld(Chance(1)), database_url="sqlite://")

        @app.job("idle")
        async def idle() -> None: ...

        async with app.running():
            nonlocal looks
            await app.world.sleep(10)  # what a start has to do is done
            looks = 0
            await app.world.sleep(60)
            return looks / 60

    tx, read = SqliteDatabase.tx, SqliteDatabase.read

    async def counted_tx(self: SqliteDatabase, work: Callable[[Connection], object]) -> object:
        nonlocal looks
        looks += 1
        return await tx(self, work)

    async def counted_read(self: SqliteDatabase, work: Callable[[Connection], object]) -> object:
        nonlocal looks
        looks += 1
        return await read(self, work)

    monkeypatch.setattr(SqliteDatabase, "tx", counted_tx)
    monkeypatch.setattr(SqliteDatabase, "read", counted_read)
    assert 3 <= run_in_virtual_time(main()) <= IDLE_LOOKS_A_SECOND
