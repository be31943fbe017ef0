"""A cancel that is asked for at one node stops the work that another node runs, however it runs it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx2
import pytest

from mainspring.cli.token import tokens_of
from mainspring.domain.access import Role
from mainspring.domain.execution import Outcome, Status
from mainspring.store.runs import run_logs
from tests.cluster.conftest import ServedNode

if TYPE_CHECKING:
    from mainspring.domain.execution import Execution
    from tests.cluster.conftest import Cluster

JOBS = ("on-the-loop", "on-a-thread", "in-a-child")
MOST = timedelta(seconds=10)


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Nodes on one store: the test runs once on each database."""
    return request.getfixturevalue(request.param)


def start(cluster: Cluster, name: str, role: str) -> ServedNode:
    """Start a node that has one role."""
    node = ServedNode(name, cluster.settings | {"MAINSPRING_APP": "endless_jobs:app"}, "--roles", role)
    cluster.nodes.append(node)
    node.wait_until_ready()
    return node


async def begun(cluster: Cluster, execution_id: UUID) -> Execution:
    """Return an execution once its handler runs."""

    async def look() -> Execution | None:
        execution = await cluster.get(execution_id)
        return execution if execution.progress.current_step == 1 else None

    return await cluster.until(look)


async def stopped(cluster: Cluster, execution_id: UUID) -> bool | None:
    """Return once the handler has said that it stopped."""
    lines = await cluster.app.opened.database.read(
        lambda connection: run_logs.lines_of(connection, execution_id, after=0, most=10)
    )
    return any(line.message == "stopped" for line in lines) or None


async def test_a_cancel_reaches_the_work_of_another_node_on_the_loop_on_a_thread_and_in_a_child(
    cluster: Cluster,
) -> None:
    door, hands = start(cluster, "door", "api"), start(cluster, "hands", "worker")
    token = tokens_of(cluster.app).create("ada", role=Role.MEMBER, organization_id="acme")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=door.url, headers=headers) as http:
        created = [await http.post("/v1/jobs", json={"jobType": job}) for job in JOBS]
        ids = [UUID(answer.json()["jobId"]) for answer in created]
        running = [await begun(cluster, execution_id) for execution_id in ids]
        assert [(await cluster.node_of(execution)).name for execution in running] == ["hands"] * len(JOBS)

        asked_at = cluster.app.world.now()
        for execution_id in ids:
            assert (await http.post(f"/v1/jobs/{execution_id}/cancel")).status_code == httpx2.codes.OK
        ended = [await cluster.ended(execution_id) for execution_id in ids]
        told = [(await http.get(f"/v1/jobs/{execution_id}/status")).json()["job"]["status"] for execution_id in ids]

    assert told == ["cancelled"] * len(JOBS)
    assert {execution.status for execution in ended} == {Status.CANCELLED}
    assert all(execution.completed_at and execution.completed_at - asked_at < MOST for execution in ended)
    for execution_id in ids:
        assert await cluster.until(lambda execution_id=execution_id: stopped(cluster, execution_id))
        assert await cluster.outcomes(execution_id) == [Outcome.CANCELLED]
    on_loop, on_thread, in_child = (int(execution.progress.message or 0) for execution in running)
    assert on_loop == on_thread == hands.process.pid != in_child
    with pytest.raises(ProcessLookupError):
        os.kill(in_child, 0)
