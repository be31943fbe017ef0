"""A request that carries a trace: what it starts joins it, whether or not this process has an SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mainspring import Cron, JobContext
from mainspring.domain.access import Role
from mainspring.observability.tracing import current_trace_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.api.conftest import Door

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@pytest.fixture
async def operator(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    """An operator of the platform, whose jobs say in which trace they run."""

    @door.app.job("digest", schedule=Cron("0 9 1 1 *"))
    async def _digest(ctx: JobContext[None]) -> str | None:
        return current_trace_id()

    async with door.app.running(roles=("worker",)):
        yield await door.client(door.token("olga", Role.OPERATOR, None))


async def test_a_run_by_hand_joins_the_trace_of_the_request(operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/jobs/digest/run", headers=CALLER)

    assert answer.json()["result"] == TRACE


async def test_a_triggered_run_joins_the_trace_of_the_request(door: Door, operator: httpx2.AsyncClient) -> None:
    answer = await operator.post("/api/jobs/digest/trigger", headers=CALLER)
    execution_id = answer.json()["executionId"]
    while (run := (await operator.get(f"/jobs/executions/{execution_id}")).json())["status"] != "COMPLETED":
        await door.app.world.sleep(0.01)

    assert run["result"] == TRACE


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}])
async def test_a_request_without_a_trace_starts_none(operator: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    answer = await operator.post("/jobs/digest/run", headers=headers)

    assert answer.json()["result"] is None
