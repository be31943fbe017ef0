"""A simulated process's way to the shared store: slow, now and then cut, and gone with its process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from mainspring.errors import DatabaseUnreachableError
from mainspring.testing.inline import finish_at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.store.engine.database import Connection, Database
    from mainspring.testing.simulation.world import Chance, SimulatedWorld

Result = TypeVar("Result")
Work = "Callable[[Connection], Result]"

_CALM_SECONDS: Final = 0.001
_SENT_BEFORE_DEATH: Final = 0.5
"""How likely a transaction that was on its way when its process died is carried out all the same."""


@dataclass(slots=True)
class Weather:
    """What the network does to messages, from a seed.

    Attributes:
        chance: Where its chance comes from.
        storm: Whether messages are delayed and lost; in calm weather each takes a millisecond.
        cut_before: How likely a transaction does not reach the store.
        cut_after: How likely its answer is lost, although it was committed.
    """

    chance: Chance
    storm: bool = True
    cut_before: float = 0.015
    cut_after: float = 0.03

    def delay(self) -> float:
        """Return the seconds that a message takes: mostly a few milliseconds, seldom more than a second."""
        if not self.storm:
            return _CALM_SECONDS
        kind = self.chance.random()
        if kind < 0.9:  # noqa: PLR2004 - most are quick
            return self.chance.uniform(0.0005, 0.005)
        return self.chance.uniform(0.005, 0.1) if kind < 0.98 else self.chance.uniform(0.1, 2.0)  # noqa: PLR2004

    def strikes(self, likelihood: float) -> bool:
        """Return whether something of that likelihood happens now."""
        return self.storm and self.chance.random() < likelihood


class Link:
    """What a simulated process uses as its database.

    A transaction happens at one instant between the call and its answer, all of it or nothing, and it happens whether
    or not the caller still waits: cancelling a call does not take back what was sent.

    Args:
        store: The shared store, which answers inline.
        world: The process.
        weather: What happens on the way.

    Attributes:
        was_isolated: Whether the process may have lost its lease because nothing got through.
    """

    dialect_name = "sqlite"
    reconnects = 0

    def __init__(self, store: Database, world: SimulatedWorld, weather: Weather) -> None:
        self.schema = store.schema
        self._store = store
        self._world = world
        self._weather = weather
        self._isolated_until = 0.0
        self.was_isolated = False

    def isolate(self, seconds: float) -> None:
        """Let nothing through for a while: what is sent fails when it is over."""
        self._isolated_until = self._world.monotonic() + seconds
        self.was_isolated = True

    async def open(self) -> None:
        """Do nothing: the store is open."""

    async def close(self) -> None:
        """Do nothing: the store outlives the process."""

    async def lane(self, purpose: str) -> Link:
        """Return the one way that there is."""
        del purpose
        return self

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in the store."""
        return await self.tx(work)

    async def tx(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in one transaction of the store.

        Raises:
            DatabaseUnreachableError: The message or the answer was lost.
            ProcessDied: The process is dead.
        """
        self._world.alive()
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self._weather.delay(), self._arrive, work, answer)
        result = await answer
        self._world.alive()
        return result

    def _arrive(self, work: Callable[[Connection], Result], answer: asyncio.Future[Result]) -> None:
        loop = asyncio.get_running_loop()
        left = self._isolated_until - loop.time()
        if left > 0:
            loop.call_later(left, self._fail, answer, "was isolated")
        elif self._world.dead and not self._weather.strikes(_SENT_BEFORE_DEATH):
            return
        elif self._weather.strikes(self._weather.cut_before):
            self._fail(answer, "was cut off before the transaction")
        else:
            self._carry_out(work, answer)

    def _carry_out(self, work: Callable[[Connection], Result], answer: asyncio.Future[Result]) -> None:
        loop = asyncio.get_running_loop()
        try:
            result = finish_at_once(self._store.tx(work))
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            loop.call_later(self._weather.delay(), self._raise, answer, error)
            return
        if self._weather.strikes(self._weather.cut_after):
            loop.call_later(self._weather.delay(), self._fail, answer, "was cut off after the commit")
        else:
            loop.call_later(self._weather.delay(), self._succeed, answer, result)

    def _succeed(self, answer: asyncio.Future[Result], result: Result) -> None:
        if not answer.done():
            answer.set_result(result)

    def _fail(self, answer: asyncio.Future[Result], told: str) -> None:
        self._raise(answer, DatabaseUnreachableError(f"the simulated process {told}"))

    def _raise(self, answer: asyncio.Future[Result], error: Exception) -> None:
        if not answer.done():
            answer.set_exception(error)
