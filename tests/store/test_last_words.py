"""What a handler says just before it ends is kept: the end waits for the lines that are on their way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Status, Trigger
from mainspring.jobs.context import JobContext
from mainspring.runtime.acknowledgements import Acknowledgements
from mainspring.runtime.log_and_progress_sink import LogAndProgressSink
from mainspring.store.runs import run_logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.queue.claimed import ClaimedExecution
    from mainspring.world import RealWorld
    from tests.store.conftest import Lab

ROUND_TRIPS = 20
"""More than the end of an attempt needs, so that one which does not wait is written first."""


@dataclass
class SlowPool:
    """A pool whose transactions begin late, as when all its connections are taken."""

    database: Database
    began: asyncio.Event

    async def tx(self, work: Callable[[Connection], Any]) -> Any:
        """Run `work` after everybody else had time for a transaction."""
        self.began.set()
        for _ in range(ROUND_TRIPS):
            await self.database.tx(lambda connection: connection.scalar(sa.select(1)))
        return await self.database.tx(work)


def said_by(sink: LogAndProgressSink, claimed: ClaimedExecution) -> JobContext[None]:
    """Return the context of an attempt whose words go to a sink."""
    return JobContext(claimed.id, claimed.job_name, 1, claimed.fence, Trigger.API, "node", None, sink)


def ends_of(lab: Lab, sink: LogAndProgressSink, world: RealWorld) -> Acknowledgements:
    """Return what writes ends after the words of a sink."""
    return Acknowledgements(
        lab.database, sink, environment=lab.environment, world=world, on_written=lambda _written, _fenced: None
    )


async def messages(lab: Lab, execution_id: UUID) -> list[str]:
    """Return the log of an execution."""
    lines = await lab.database.read(
        lambda connection: run_logs.lines_of(connection, execution_id, most=10_000),
    )
    return [line.message for line in lines]


@pytest.fixture
def no_cipher() -> PayloadCipher:
    """Stands where a cipher is asked for by what these tests do not use."""
    return cast("PayloadCipher", None)


async def test_an_end_waits_for_the_words_that_are_being_written(
    lab: Lab, world: RealWorld, no_cipher: PayloadCipher
) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    pool = SlowPool(lab.database, asyncio.Event())
    sink = LogAndProgressSink(cast("Database", pool), world, no_cipher)
    acknowledgements = ends_of(lab, sink, world)

    said_by(sink, claimed).log("stopped")
    writing = world.spawn(sink.run_once(), name="sink")
    await pool.began.wait()
    acknowledgements.add(lab.end(claimed))
    await acknowledgements.drain()
    await writing

    assert await lab.status(claimed.id) is Status.SUCCEEDED
    assert await messages(lab, claimed.id) == ["stopped"]


async def test_an_end_takes_every_line_before_it_along(lab: Lab, world: RealWorld, no_cipher: PayloadCipher) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    sink = LogAndProgressSink(lab.database, world, no_cipher)
    acknowledgements = ends_of(lab, sink, world)
    context = said_by(sink, claimed)

    for number in range(4_500):
        context.log(f"line {number}")
    acknowledgements.add(lab.end(claimed))
    await acknowledgements.drain()
    await sink.run_once()

    assert await messages(lab, claimed.id) == [f"line {number}" for number in range(4_500)]
