"""Claims for services: within the slots of each, and one probe of the whole cluster where a breaker is not closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.job import JobDefinition
from mainspring.domain.slots import SlotBounds
from mainspring.runtime.remote_claims import RemoteClaims
from mainspring.runtime.remote_jobs import RemoteJobs
from mainspring.settings import Settings
from mainspring.store.remote import breakers, service_jobs, services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.claimed import ClaimedExecution
    from tests.store.conftest import Lab, StoreClock

    MakeNode = Callable[[], Awaitable[RemoteClaims]]


@pytest.fixture
async def make_node(lab: Lab) -> MakeNode:
    """Make nodes of eight slots, which know the jobs of two services."""

    def keep(connection: Connection) -> None:
        for service in ("mailer", "billing"):
            services.enter(connection, "test", service, f"http://{service}")
            for number in range(3):
                definition = JobDefinition(f"{service}-{number}", queue=f"queue-{number}")
                service_jobs.declare(
                    connection, lab.firing, definition, service_name=service, service_url="", code_version=None
                )

    await lab.database.tx(keep)

    async def make() -> RemoteClaims:
        jobs = RemoteJobs(lab.database, "test", secret_keys=list, on_change=lambda: None)
        await jobs.refresh()
        return RemoteClaims(jobs, Settings(environment="test", concurrency=SlotBounds(8, 8)))

    return make


async def _enqueue(lab: Lab, service: str, count: int) -> None:
    await lab.enqueue(
        *(lab.new(job_name=f"{service}-{number % 3}", queue=f"queue-{number % 3}") for number in range(count))
    )


async def _claim(lab: Lab, node: RemoteClaims) -> list[ClaimedExecution]:
    node_id = await lab.register_node()
    return await lab.database.tx(lambda connection: node.claim(connection, node_id))


async def _open(lab: Lab, service: str) -> float:
    wait = 0.0
    for _ in range(5):
        wait = await lab.database.tx(lambda connection: breakers.fail(connection, "test", service, "down", chance=0.5))
    return wait


async def test_each_service_gets_a_quarter_of_the_slots(lab: Lab, make_node: MakeNode) -> None:
    node = await make_node()
    await _enqueue(lab, "mailer", 6)
    await _enqueue(lab, "billing", 1)
    claimed = await _claim(lab, node)
    assert sorted(item.job_name.partition("-")[0] for item in claimed) == ["billing", "mailer", "mailer"]
    node.began([*(item.job_name.partition("-")[0] for item in claimed), None])
    assert [item.job_name for item in await _claim(lab, node)] == []
    node.ended("mailer")
    assert [item.job_name.partition("-")[0] for item in await _claim(lab, node)] == ["mailer"]


async def test_what_waits_for_a_service_with_an_open_breaker_is_not_claimed(lab: Lab, make_node: MakeNode) -> None:
    node = await make_node()
    await _enqueue(lab, "mailer", 2)
    await _enqueue(lab, "billing", 1)
    await _open(lab, "mailer")
    assert [item.job_name for item in await _claim(lab, node)] == ["billing-0"]


async def test_one_execution_of_all_nodes_is_the_probe(lab: Lab, make_node: MakeNode, clock: StoreClock) -> None:
    nodes = [await make_node() for _ in range(4)]
    await _enqueue(lab, "mailer", 6)
    clock.advance(await _open(lab, "mailer") + 0.1)
    claimed = await asyncio.gather(*(_claim(lab, node) for node in nodes))
    assert sum(len(items) for items in claimed) == 1
    await lab.database.tx(lambda connection: breakers.succeed(connection, "test", "mailer"))
    assert len(await _claim(lab, nodes[0])) == 2, "once it is reached, they go as before"


async def test_a_probe_is_not_used_up_where_nothing_waits(lab: Lab, make_node: MakeNode, clock: StoreClock) -> None:
    node = await make_node()
    clock.advance(await _open(lab, "mailer") + 0.1)
    assert await _claim(lab, node) == []
    await _enqueue(lab, "mailer", 1)
    assert len(await _claim(lab, node)) == 1
