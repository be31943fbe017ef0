"""Signals: hints that there may be something to do. Never the truth: every loop also polls.

Within a process a signal sets an event. Between processes PostgreSQL carries it by NOTIFY, one every 50 ms on the
average and a few at once after a pause; of a file of SQLite the system tells that another process has written to it,
and its data version shows that this was committed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

import sqlalchemy as sa

from mainspring.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from mainspring.world import World

NOTIFY_SECONDS: Final = 0.05
"""Between two notifications of a process, on the average: each one wakes every node."""
NOTIFY_BURST: Final = 4
"""How many may go at once after a pause, so that what comes one by one is not late."""
WORK: Final = "work"
"""The topic of executions that became ready."""
TOLD: Final = "told"
"""The topic of running executions that have said something, or have ended."""
SERVICES: Final = "services"
"""The topic of jobs that services have registered."""
ATTEMPTS: Final = "attempts"
"""The topic of attempts that begin; it stays in the process that carries them out."""


class Wakeup:
    """An event that a loop sleeps on."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake whoever sleeps, or the next one who wants to."""
        self._event.set()

    async def sleep(self, seconds: float) -> bool:
        """Sleep for `seconds`, or less if woken; return whether it was."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Signals:
    """The signals of one process, on one event loop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wakeups: dict[str, list[Wakeup]] = defaultdict(list)
        self._ends: dict[UUID, list[asyncio.Future[None]]] = {}
        self._outward: list[Outward] = []

    def wakeup(self, *topics: str) -> Wakeup:
        """Return a new event that signals of any of `topics` set."""
        wakeup = Wakeup()
        for topic in topics:
            self._wakeups[topic].append(wakeup)
        return wakeup

    def carry(self, outward: Outward) -> None:
        """Let `outward` carry signals to other processes from now on."""
        self._outward.append(outward)

    def send(self, topic: str) -> None:
        """Wake the loops of this process, and soon those of others."""
        self.arrived(topic)
        for outward in self._outward:
            outward.send(topic)

    def arrived(self, topic: str) -> None:
        """Wake the loops of this process alone."""
        for wakeup in self._wakeups[topic]:
            wakeup.set()

    def ended(self, execution_ids: Iterable[UUID]) -> None:
        """Tell whoever in this process waits for one of these executions that it may have ended."""
        if not self._ends:
            return
        for execution_id in execution_ids:
            for future in self._ends.pop(execution_id, ()):
                if not future.done():
                    future.set_result(None)

    async def end_of(self, execution_id: UUID, seconds: float) -> None:
        """Sleep for `seconds`, or until `ended` is called for the execution."""
        future = asyncio.get_running_loop().create_future()
        waiting = self._ends.setdefault(execution_id, [])
        waiting.append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            with suppress(ValueError):
                waiting.remove(future)
            if not waiting:
                self._ends.pop(execution_id, None)


class Outward(Protocol):
    """Carries signals between processes."""

    def send(self, topic: str) -> None:
        """Tell the other processes, soon."""
        ...

    async def close(self) -> None:
        """Stop listening."""
        ...


def channel_of(schema: str) -> str:
    """Return the PostgreSQL channel that signals travel on between the nodes of one installation."""
    return f"{schema}_signals"


class NotifySignals:
    """PostgreSQL's LISTEN and NOTIFY, on a connection of its own that tests itself and comes back after a cut.

    Args:
        database: Where to notify.
        signals: Whom to wake.
        dsn: Where to listen: a direct connection, since a pooler in transaction mode would lose the LISTEN.
        world: For tasks and waits.
    """

    def __init__(self, database: Database, signals: Signals, *, dsn: str, world: World) -> None:
        self._database = database
        self._signals = signals
        self._dsn = dsn
        self._world = world
        self._channel = channel_of(database.schema)
        self._pending: set[str] = set()
        self._task = world.spawn(self._listen_for_life(), name="mainspring-listen")
        self._sender: asyncio.Task[None] | None = None
        self._rested_at = world.monotonic()

    def send(self, topic: str) -> None:
        """Notify at once, or within 50 ms where much is said, once for all that is said until then."""
        self._pending.add(topic)
        if self._sender is None or self._sender.done():
            self._sender = self._world.spawn(self._notify(), name="mainspring-notify")

    async def _notify(self) -> None:
        while self._pending:
            if wait := self._next_in():
                await self._world.sleep(wait)
            topics, self._pending = sorted(self._pending), set()
            # A lost hint costs one poll interval, and the loops report the trouble of the database themselves. A read
            # makes one journey to the server for its one statement, where a transaction makes three.
            with suppress(StoreError):
                await self._database.read(lambda connection, topics=topics: self._say(connection, topics))

    def _next_in(self) -> float:
        """Return the seconds until one more may go, by the instant at which a whole burst might (GCRA, ITU-T I.371)."""
        now = self._world.monotonic()
        self._rested_at = max(now, self._rested_at) + NOTIFY_SECONDS
        return max(0.0, self._rested_at - NOTIFY_BURST * NOTIFY_SECONDS - now)

    def _say(self, connection: sa.Connection, topics: list[str]) -> None:
        statement = sa.text("select pg_notify(:channel, topic) from unnest(cast(:topics as text[])) topic")
        connection.execute(statement, {"channel": self._channel, "topics": topics})

    async def _listen_for_life(self) -> None:
        pause = 0.1
        while True:
            # Without its listener a node still polls; it is tried again for as long as the process lives.
            with suppress(OSError, TimeoutError, StoreError, *_driver_errors()):
                await self._listen()
                pause = 0.1
            await self._world.sleep(pause * (0.5 + self._world.random()))
            pause = min(5.0, pause * 2)

    async def _listen(self) -> None:
        connection = await _asyncpg().connect(self._dsn, timeout=10, command_timeout=5)
        try:
            await connection.add_listener(self._channel, self._heard)
            while not connection.is_closed():
                await self._world.sleep(5)
                await connection.fetchval("select count(*) from pg_listening_channels()")
        finally:
            with suppress(OSError, TimeoutError, *_driver_errors()):
                await connection.close(timeout=1)

    def _heard(self, _connection: object, _pid: int, _channel: str, topic: object) -> None:
        self._signals.arrived(str(topic))

    async def close(self) -> None:
        """Stop listening and notifying."""
        for task in (self._task, self._sender):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def _driver_errors() -> tuple[type[Exception], ...]:
    driver = _asyncpg()
    return (driver.PostgresError, driver.InterfaceError)


def _asyncpg() -> Any:  # noqa: ANN401 - the driver has no types
    return import_module("asyncpg")
