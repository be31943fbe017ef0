"""A client that knows nothing but the on-demand document, against real nodes; and a stream that outlives its node."""

from __future__ import annotations

import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.contract.seed_client import SeedClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from tests.cluster.conftest import Cluster, ServedNode

ROWS = 3_000


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Nodes on one store: the test runs once on each database."""
    return request.getfixturevalue(request.param)


def token_of(cluster: Cluster, user: str) -> str:
    """Return a token for a member of org_acme."""
    made = cluster.command("token", "create", "--user", user, "--org", "org_acme", "--role", "member")
    assert made.returncode == 0
    return made.stdout.strip().splitlines()[-1]


def test_a_client_written_from_the_document_alone_works(cluster: Cluster) -> None:
    [node] = cluster.start("first")
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        cluster.app.world.pause(0.05)  # in the place of them, so that the test is over sooner
        if any(job["currentStep"] == 2 for job in told):
            cluster.open_gate()

    client = SeedClient(node.url, token_of(cluster, "user_admin"), wait)
    told: list[dict[str, Any]] = []
    payload = {"reportType": "slow", "format": "csv"}
    export = client.create("export_report", payload, priority=5)
    ended = client.follow(export, told.append)
    assert (ended["status"], ended["progress"], ended["userId"]) == ("succeeded", 100, "user_admin")
    assert set(pauses) <= {2, 5, 10}
    assert client.download(ended).count(b"\n") == 1 + ROWS == 1 + ended["result"]["recordCount"]

    broken = client.create("export_report", {"reportType": "invalid_report", "format": "csv"})
    failed = client.follow(broken, told.append)
    assert (failed["status"], failed["errorMessage"]) == ("failed", "Invalid export job payload")
    assert client.status(broken)["canRetry"]
    assert client.retry(broken) == "Job retry initiated successfully"
    assert client.follow(broken, told.append)["retryCount"] == 1

    assert [job["id"] for job in client.find(status="succeeded", jobType="export_report")] == [export]
    assert {job["id"] for job in client.find()} == {export, broken}


async def test_a_stream_goes_on_at_another_node(on_postgresql: Cluster) -> None:
    cluster = on_postgresql
    first, second = cluster.start("first", "second")
    token = token_of(cluster, "user_admin")
    client = SeedClient(first.url, token, lambda _seconds: None)
    job_id = client.create("export_report", {"reportType": "slow", "format": "csv"})

    heard: list[tuple[str, str, Any]] = []
    async with followed(first, token, job_id) as events:
        async for event in events:
            heard.append(event)
            if any(name == "log" and data["fields"].get("step") == 2 for name, _, data in heard):
                break
    first.kill()
    cluster.open_gate()
    async with followed(second, token, job_id, heard[-1][1]) as events:
        heard += [event async for event in events]

    names = [name for name, _, _ in heard]
    assert names[-2:] == ["status", "end"]
    lines = [data["id"] for name, _, data in heard if name == "log"]
    assert lines == sorted(set(lines))  # none twice, none out of order
    everything = await log_ids(second, token, job_id)
    assert lines == everything
    assert heard[-2][2]["job"]["status"] == "succeeded"


async def test_a_node_that_is_told_to_stop_ends_its_streams_and_itself(on_sqlite: Cluster) -> None:
    [node] = on_sqlite.start("first", MAINSPRING_SHUTDOWN_GRACE="0.5s")
    token = token_of(on_sqlite, "user_admin")
    client = SeedClient(node.url, token, lambda _seconds: None)
    job_id = client.create("export_report", {"reportType": "slow", "format": "csv"})
    hints: list[int] = []
    async with (
        httpx2.AsyncClient(base_url=node.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
        http.stream("GET", f"/v1/jobs/{job_id}/events") as answer,
    ):
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event" and node.process.poll() is None and len(hints) == 1:
                node.send(signal.SIGTERM)
            if name == "retry":
                hints.append(int(value))
    assert len(hints) == 2
    assert 1_000 <= hints[-1] <= 3_000  # clients come back at different times
    assert node.exit_code() == 0


@asynccontextmanager
async def followed(
    node: ServedNode, token: str, job_id: str, last_event_id: str | None = None
) -> AsyncGenerator[AsyncIterator[tuple[str, str, Any]]]:
    """Follow a job at a node."""
    headers = {"Authorization": f"Bearer {token}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with (
        httpx2.AsyncClient(base_url=node.url, timeout=30) as http,
        http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield parsed(answer)


async def parsed(answer: httpx2.Response) -> AsyncIterator[tuple[str, str, Any]]:
    """Return the events of a stream: name, id and data."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}
        else:
            fields = {}


async def log_ids(node: ServedNode, token: str, job_id: str) -> list[int]:
    """Return the ids of all lines of a job."""
    async with httpx2.AsyncClient(base_url=node.url, headers={"Authorization": f"Bearer {token}"}) as http:
        answer = await http.get(f"/v1/jobs/{job_id}/logs?pageSize=100")
        assert "next" not in answer.links
        return [line["id"] for line in answer.json()["logs"]]
