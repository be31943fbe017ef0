"""How ends of attempts travel to the store: in batches, a full one behind another, and none ahead of its words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from mainspring.domain.execution import Outcome, Status, Trigger
from mainspring.errors import DatabaseUnreachableError
from mainspring.jobs.context import JobContext
from mainspring.runtime.acknowledgements import Acknowledgements
from mainspring.runtime.log_and_progress_sink import LogAndProgressSink
from mainspring.store.queue.finishes import Finish, Release
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Connection, Database

FULL = 50
WORLD = RealWorld()


def end_of_one() -> Finish:
    """Return the end of an attempt."""
    return Finish(WORLD.new_id(), 1, "job", Status.SUCCEEDED, Outcome.SUCCEEDED, 0)


@dataclass
class SlowLane:
    """A lane whose transactions end when the test says so, each having written all that it is asked to."""

    under_way: list[asyncio.Future[set[UUID]]] = field(default_factory=list[asyncio.Future[set["UUID"]]])

    async def tx(self, work: Callable[[Connection], Any]) -> Any:
        """Wait for the test."""
        transaction: asyncio.Future[set[UUID]] = asyncio.get_running_loop().create_future()
        self.under_way.append(transaction)
        return await transaction

    async def close(self) -> None:
        """Hold nothing."""


@dataclass
class Bench:
    """Ends on their way, over a lane that the test holds; so it does the writes of words by themselves.

    Attributes:
        written: How many ends each transaction has written.
        soon: What ends right after the next one of them.
    """

    lane: SlowLane = field(default_factory=SlowLane)
    database: SlowLane = field(default_factory=SlowLane)
    written: list[int] = field(default_factory=list[int])
    soon: list[Finish] = field(default_factory=list[Finish])

    def __post_init__(self) -> None:
        """Take the lane."""
        self.sink = LogAndProgressSink(cast("Database", self.database), WORLD, cast("PayloadCipher", None))
        self.acknowledgements = Acknowledgements(
            self.lane, self.sink, environment="test", world=WORLD, on_written=self._on_written, batch=FULL
        )

    def _on_written(self, written: Sequence[Finish | Release], fenced: Sequence[Finish | Release]) -> None:
        assert not fenced
        self.written.append(len(written))
        while self.soon:
            asyncio.get_running_loop().call_soon(self.acknowledgements.add, self.soon.pop())

    async def end(self, count: int) -> list[Finish]:
        """Let so many attempts end, and what that sets off begin."""
        ends = [end_of_one() for _ in range(count)]
        for end in ends:
            self.acknowledgements.add(end)
        await self.settle()
        return ends

    def say(self) -> None:
        """Let a handler say something."""
        JobContext(WORLD.new_id(), "job", 1, 1, Trigger.API, "node", None, self.sink).log("half of it is done")

    async def write(self, ends: Sequence[Finish]) -> None:
        """Let the first transaction under way be over, which holds these ends."""
        self.lane.under_way.pop(0).set_result({end.id for end in ends})
        await self.settle()

    async def settle(self) -> None:
        """Let all go on that can."""
        for _ in range(10):
            await WORLD.sleep(0)


@pytest.fixture
def bench() -> Bench:
    """Return a bench."""
    return Bench()


async def test_a_full_batch_follows_before_the_one_under_way_is_written(bench: Bench) -> None:
    first = await bench.end(1)
    second = await bench.end(FULL)

    assert len(bench.lane.under_way) == 2
    assert all(bench.acknowledgements.has(end.id, 1) for end in first + second)
    await bench.write(first)
    await bench.write(second)
    assert bench.written == [1, FULL]
    assert not bench.acknowledgements.has(second[0].id, 1)


async def test_a_batch_that_is_not_full_waits_for_the_one_under_way(bench: Bench) -> None:
    first = await bench.end(1)
    second = await bench.end(FULL - 1)

    assert len(bench.lane.under_way) == 1
    await bench.write(first)
    await bench.write(second)
    assert bench.written == [1, FULL - 1]


async def test_no_third_batch_follows(bench: Bench) -> None:
    first = await bench.end(1)
    second = await bench.end(FULL)
    third = await bench.end(FULL)

    assert len(bench.lane.under_way) == 2
    await bench.write(first)
    assert len(bench.lane.under_way) == 2
    await bench.write(second)
    await bench.write(third)
    assert bench.written == [1, FULL, FULL]


async def test_nothing_overtakes_a_batch_with_words_of_handlers(bench: Bench) -> None:
    bench.say()
    first = await bench.end(1)
    second = await bench.end(FULL)

    assert len(bench.lane.under_way) == 1
    await bench.write(first)
    third = await bench.end(FULL)
    assert len(bench.lane.under_way) == 2
    await bench.write(second)
    await bench.write(third)
    assert bench.written == [1, FULL, FULL]


async def test_nothing_overtakes_a_batch_whose_words_are_still_being_looked_for(bench: Bench) -> None:
    bench.say()
    saying = WORLD.spawn(bench.sink.run_once(), name="sink")
    await bench.settle()
    ends = await bench.end(2 * FULL)
    assert bench.lane.under_way == []

    bench.database.under_way.pop().set_exception(DatabaseUnreachableError("the disk is full"))
    await bench.settle()
    assert isinstance(saying.exception(), DatabaseUnreachableError)
    assert len(bench.lane.under_way) == 1
    await bench.write(ends[:FULL])
    await bench.write(ends[FULL:])
    assert bench.written == [FULL, FULL]


async def test_draining_waits_for_both_batches(bench: Bench) -> None:
    first = await bench.end(1)
    second = await bench.end(FULL)
    drained = WORLD.spawn(bench.acknowledgements.drain(), name="drain")

    await bench.write(first)
    assert not drained.done()
    await bench.write(second)
    await drained


async def test_what_is_given_up_is_written_no_more(bench: Bench) -> None:
    await bench.end(1)
    ends = await bench.end(FULL + 1)

    bench.acknowledgements.give_up()
    await bench.settle()

    assert all(transaction.cancelled() for transaction in bench.lane.under_way)
    assert not any(bench.acknowledgements.has(end.id, 1) for end in ends)
    assert bench.written == []


async def test_what_is_given_up_before_its_writer_began_leaves_room_for_the_next(bench: Bench) -> None:
    bench.acknowledgements.add(end_of_one())
    bench.acknowledgements.give_up()
    await asyncio.wait_for(bench.acknowledgements.drain(), 5)

    ends = await bench.end(1)
    await bench.write(ends)
    assert bench.written == [1]


async def test_what_ends_in_the_moment_in_which_the_writer_is_over_is_written(bench: Bench) -> None:
    first, late = await bench.end(1), end_of_one()
    bench.soon.append(late)

    await bench.write(first)
    await bench.write([late])
    assert bench.written == [1, 1]
