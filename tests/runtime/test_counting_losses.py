"""What goes wrong between nodes is counted where it is noticed (contract §9)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Outcome
from mainspring.errors import ExecutionFailedError
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import executions_live, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring import Mainspring


async def test_a_node_that_was_taken_for_dead_counts_a_lost_lease_and_its_work_ends_as_lost(
    make_app: Callable[..., Mainspring],
) -> None:
    app = make_app()
    started = asyncio.Event()

    @app.job("hold", on_lost="fail")
    async def hold() -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(30), app.running():
        execution = await hold.enqueue()
        await started.wait()
        assert app.metrics.leases_lost == 0
        await app.opened.database.tx(
            lambda connection: connection.execute(sa.update(nodes).values(dead_at=store_now()))
        )
        with pytest.raises(ExecutionFailedError):
            await execution.wait()
        while app.metrics.leases_lost == 0:
            await _look(app)
    assert app.metrics.leases_lost == 1
    assert app.metrics.jobs["hold"].outcomes == {Outcome.LOST: 1}


async def test_an_end_that_comes_after_another_attempt_began_is_counted_and_changes_nothing(
    make_app: Callable[..., Mainspring],
) -> None:
    app = make_app()

    @app.job("overtaken")
    async def overtaken() -> str:
        newer = sa.update(executions_live).values(fence=executions_live.c.fence + 1)
        await app.opened.database.tx(lambda connection: connection.execute(newer))
        return "too late"

    async with asyncio.timeout(30), app.running():
        await overtaken.enqueue()
        while app.metrics.fenced_writes == 0:
            await _look(app)
        kept = await app.opened.database.read(
            lambda connection: connection.execute(sa.select(executions_live.c.id)).all()
        )
    assert app.metrics.fenced_writes == 1
    assert len(kept) == 1
    assert not app.metrics.jobs["overtaken"].outcomes


async def _look(app: Mainspring) -> None:
    """Let others go on for as long as one look at the store takes."""
    await app.opened.database.read(lambda connection: connection.execute(sa.select(store_now())).scalar())
