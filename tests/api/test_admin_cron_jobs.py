"""`/admin/cron-jobs`: what is listed, found, changed and reported, and what is refused."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Role
from mainspring.domain.execution import Status
from mainspring.store.analytics import rollups
from mainspring.store.tables import executions, nodes, ticks
from mainspring.world import uuid7
from tests.api.worker_by_hand import WorkerByHand

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import httpx2

    from tests.api.conftest import Door

PATH = "/admin/cron-jobs"


@pytest.fixture
async def admin(door: Door) -> httpx2.AsyncClient:
    """An admin of the platform, whose jobs are declared."""
    await door.register_jobs()
    return await door.client(door.token("root", Role.ADMIN, None))


@pytest.fixture
def worker(door: Door) -> WorkerByHand:
    return WorkerByHand(door)


def ended(completed_at: datetime, number: int, **said: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "id": uuid7(int(completed_at.timestamp() * 1000), number << 40 | 0x3FFF),
        "environment": "dev",
        "queue": "default",
        "job_name": "nightly",
        "trigger": "cron",
        "created_at": completed_at - timedelta(seconds=3),
        "started_at": completed_at - timedelta(seconds=2),
        "updated_at": completed_at,
        "completed_at": completed_at,
        "status": "succeeded",
        "duration_ms": 1_000,
        "items_processed": 10,
        "error_message": None,
        "error_fingerprint": None,
        "error": None,
        "node_id": None,
    }
    return defaults | said


async def write(door: Door, rows: Sequence[dict[str, Any]]) -> None:
    await door.services.database.tx(lambda connection: connection.execute(sa.insert(executions), rows))


async def start_node(door: Door, started_at: datetime, version: str) -> UUID:
    """Enter a node that runs a version of the application."""
    node_id = door.app.world.new_id()
    row = {
        "id": node_id, "environment": "dev", "name": version, "host": "h", "pid": 1, "roles": "worker",
        "version": "0", "slots": 1, "started_at": started_at, "last_heartbeat": started_at,
        "lease_until": started_at, "code_version": version,
    }  # fmt: skip
    await door.services.database.tx(lambda connection: connection.execute(sa.insert(nodes), [row]))
    return node_id


async def roll(door: Door) -> None:
    more = True
    while more:
        more = (await door.services.database.tx(lambda connection: rollups.roll(connection, "dev"))).more


async def runs(client: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["executions"]


class TestTheList:
    async def test_runs_of_jobs_with_a_schedule_are_shown_and_others_on_demand(
        self, door: Door, admin: httpx2.AsyncClient
    ) -> None:
        await door.app.enqueue("sweep")
        await door.app.enqueue("greet", organization_id="acme")
        now = door.app.world.now()
        await write(door, [ended(now, 1)])
        assert [run["jobName"] for run in await runs(admin)] == ["nightly"]
        assert {run["jobName"] for run in await runs(admin, all=True)} == {"nightly", "sweep", "greet"}
        assert await runs(admin, jobName="sweep") == []
        assert [run["jobName"] for run in await runs(admin, jobName="sweep", all=True)] == ["sweep"]

    async def test_filters(self, door: Door, admin: httpx2.AsyncClient) -> None:
        now = door.app.world.now()
        rows = [
            ended(now - timedelta(minutes=1), 0),
            ended(now - timedelta(minutes=2), 1, status="failed", error_fingerprint="f1"),
            ended(now - timedelta(minutes=3), 2, status="skipped"),
            ended(now - timedelta(minutes=4), 3, trigger="admin"),
        ]
        await write(door, rows)
        for query, found in (
            ({"status": "completed"}, {0, 3}),
            ({"status": "failed"}, {1}),
            ({"status": "cancelled"}, {2}),
            ({"status": "running"}, set[int]()),
            ({"trigger": "admin"}, {3}),
            ({"jobGroup": "mail"}, {0, 1, 2, 3}),
            ({"jobGroup": "none"}, set[int]()),
            ({"jobType": "email", "status": "failed"}, {1}),
            ({"search": "NIGHT"}, {0, 1, 2, 3}),
            ({"search": "zzz"}, set[int]()),
            ({"fingerprint": "f1"}, {1}),
        ):
            shown = [run["id"] for run in await runs(admin, **query)]
            assert shown == [str(row["id"]) for number, row in enumerate(rows) if number in found], query

    async def test_an_id_is_found_whatever_its_job(self, door: Door, admin: httpx2.AsyncClient) -> None:
        run = (await door.app.enqueue("greet", organization_id="acme")).id
        assert [shown["id"] for shown in await runs(admin, search=str(run))] == [str(run)]

    async def test_pages_and_order(self, door: Door, admin: httpx2.AsyncClient) -> None:
        now = door.app.world.now()
        await write(door, [ended(now - timedelta(minutes=number), number) for number in range(7)])
        newest = await runs(admin)
        assert [run["id"] for run in await runs(admin, sort="createdAt")] == [run["id"] for run in reversed(newest)]
        body = (await admin.get(PATH, params={"pageSize": 3, "page": 2})).json()
        assert [run["id"] for run in body["executions"]] == [run["id"] for run in newest[3:6]]
        assert (body["total"], body["totalPages"]) == (7, 3)
        first = await admin.get(PATH, params={"pageSize": 3})
        following = first.links["next"]["url"]
        assert [run["id"] for run in (await admin.get(following)).json()["executions"]] == [
            run["id"] for run in newest[3:6]
        ]
        start = newest[2]["createdAt"]
        assert len(await runs(admin, **{"from": start})) == 3
        assert len(await runs(admin, to=start)) == 4


async def test_details_tell_all_about_a_run(door: Door, admin: httpx2.AsyncClient, worker: WorkerByHand) -> None:
    now = door.app.world.now()
    error = '{"message": "boom", "fingerprint": "f1", "trace": "Traceback …"}'
    failed = {"status": "failed", "error": error, "error_fingerprint": "f1"}
    await write(door, [ended(now - timedelta(hours=1), 1, **failed), ended(now - timedelta(hours=2), 2, **failed)])
    triggered = (await admin.post(f"{PATH}/nightly/trigger")).json()["executionId"]
    claimed = await worker.start(triggered)
    await worker.say(claimed, "one", "two")
    await worker.end(claimed, Status.SUCCEEDED)
    due = {
        "environment": "dev", "schedule_name": "nightly", "scheduled_for": now - timedelta(hours=1),
        "outcome": "skipped", "reason": "overlap", "recorded_at": now,
    }  # fmt: skip
    await door.services.database.tx(lambda connection: connection.execute(sa.insert(ticks), [due]))

    told = (await admin.get(f"{PATH}/{triggered}")).json()
    assert [line["message"] for line in told["logs"]] == ["one", "two"]
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["succeeded"]
    assert [tick["outcome"] for tick in told["ticks"]] == ["skipped"]
    assert [run["status"] for run in told["related"]] == ["failed", "failed"]
    older = (await admin.get(f"{PATH}/{told['related'][0]['id']}")).json()
    assert older["error"]["trace"] == "Traceback …"
    assert [run["id"] for run in older["sameError"]] == [told["related"][1]["id"]]
    assert older["related"][0]["id"] == triggered, "the runs after it stand above those before"


@pytest.mark.parametrize("unknown", ["nightly", "01890000-0000-7000-8000-000000000001"])
async def test_what_does_not_exist_is_not_found(admin: httpx2.AsyncClient, unknown: str) -> None:
    assert (await admin.get(f"{PATH}/{unknown}")).status_code == 404


class TestChanges:
    async def test_a_change_holds_beside_the_code_and_is_written_down_old_and_new(
        self, door: Door, admin: httpx2.AsyncClient
    ) -> None:
        version = (await admin.get(f"{PATH}/status")).json()["jobs"][0]["version"]
        body = {
            "timeout": 30, "retry": {"maxRetries": 7}, "thresholds": {"consecutiveFailures": 5},
            "config": {"to": "ops"}, "reason": "slow partner", "version": version,
        }  # fmt: skip
        answer = (await admin.patch(f"{PATH}/nightly", json=body)).json()
        assert answer["before"]["timeout"] == 3600
        assert (answer["after"]["timeout"], answer["after"]["retry"]["maxRetries"]) == (30, 7)
        assert answer["after"]["config"] == {"to": "ops"}
        await door.register_jobs()
        job = (await admin.get("/api/jobs/nightly")).json()
        assert (job["timeout"], job["retry"]["maxRetries"], job["thresholds"]["consecutiveFailures"]) == (30, 7, 5)
        assert job["config"] == {"to": "ops"}
        [entry] = (await admin.get("/admin/audit", params={"action": "job.edit"})).json()["entries"]
        assert (entry["actor"], entry["targetId"], entry["reason"]) == ("root", "nightly", "slow partner")
        assert (entry["before"]["timeout"], entry["after"]["timeout"]) == (3600, 30)
        kept = (await admin.patch(f"{PATH}/nightly", json={"retention": {"succeeded": 7}})).json()
        assert (kept["before"], kept["after"]["retention"]["succeeded"]) == ({"retention": None}, 7)
        answer = kept
        back = (await admin.patch(f"{PATH}/nightly", json={"timeout": None})).json()
        assert (back["after"]["timeout"], back["version"]) == (3600, answer["version"] + 1)

    async def test_a_change_of_what_somebody_else_has_changed_is_refused(self, admin: httpx2.AsyncClient) -> None:
        version = (await admin.patch(f"{PATH}/nightly", json={"timeout": 10})).json()["version"]
        stale = await admin.patch(f"{PATH}/nightly", json={"timeout": 20, "version": version - 1})
        assert (stale.status_code, stale.json()["code"]) == (409, "VERSION_CONFLICT")

    @pytest.mark.parametrize(
        "body",
        [
            {"timeout": 0},
            {"retry": {"maxRetries": 101}},
            {"thresholds": {"failureRate": 2}},
            {"thresholds": {"colour": "red"}},
            {"schedule": "* * * * *"},
            {"config": {"text": "x" * 300_000}},
        ],
    )
    async def test_nonsense_changes_nothing(self, admin: httpx2.AsyncClient, body: dict[str, Any]) -> None:
        assert (await admin.patch(f"{PATH}/nightly", json=body)).status_code == 422
        assert (await admin.get("/admin/audit", params={"action": "job.edit"})).json()["total"] == 0

    async def test_an_unknown_job_cannot_be_changed_or_run(self, admin: httpx2.AsyncClient) -> None:
        assert (await admin.patch(f"{PATH}/nope", json={"timeout": 1})).status_code == 404
        for command in ("trigger", "pause", "resume"):
            assert (await admin.post(f"{PATH}/nope/{command}")).status_code == 404

    async def test_a_paused_job_says_so_until_it_is_resumed(self, admin: httpx2.AsyncClient) -> None:
        paused = (await admin.post(f"{PATH}/nightly/pause", json={"reason": "party"})).json()
        assert (paused["jobName"], paused["paused"]) == ("nightly", True)
        [job] = [job for job in (await admin.get(f"{PATH}/status")).json()["jobs"] if job["jobName"] == "nightly"]
        assert (job["paused"], job["enabled"]) == (True, False)
        assert not (await admin.post(f"{PATH}/nightly/resume")).json()["paused"]

    async def test_a_second_run_is_refused_while_one_waits(self, admin: httpx2.AsyncClient) -> None:
        first = await admin.post(f"{PATH}/nightly/trigger", json={"userId": "ada"})
        assert first.headers["Location"] == f"{PATH}/{first.json()['executionId']}"
        assert (await admin.get(first.headers["Location"])).json()["triggeredByUser"] == "ada"
        assert (await admin.post(f"{PATH}/nightly/trigger")).json()["code"] == "JOB_ALREADY_RUNNING"


class TestReports:
    async def test_statistics_by_job_group_queue_and_period(self, door: Door, admin: httpx2.AsyncClient) -> None:
        now = door.app.world.now()
        durations = [100, 200, 300, 10_000]
        rows = [ended(now - timedelta(minutes=20), n, duration_ms=ms) for n, ms in enumerate(durations)]
        await write(door, [*rows, ended(now - timedelta(hours=2), 9, status="failed", duration_ms=500)])
        await roll(door)
        for by, key in (("job", "nightly"), ("group", "mail"), ("queue", "default")):
            told = (await admin.get(f"{PATH}/stats", params={"by": by})).json()
            [row] = told["rows"]
            assert row["key"] == key
            assert {**told["totals"], "key": key} == row
            assert (row["total"], row["succeeded"], row["failed"], row["successRate"]) == (5, 4, 1, 0.8)
            assert row["averageDurationMs"] == 2220
            assert (row["p50DurationMs"], row["p95DurationMs"], row["maxDurationMs"]) == (305, 10_500, 10_000)
            assert (row["averageWaitingMs"], row["itemsProcessed"]) == (1000, 50)
        periods = (await admin.get(f"{PATH}/stats", params={"by": "period"})).json()["rows"]
        assert [row["total"] for row in periods] == [1, 4]
        assert (await admin.get(f"{PATH}/stats", params={"jobGroup": "none"})).json()["totals"]["total"] == 0

    async def test_performance_stands_beside_the_span_before(self, door: Door, admin: httpx2.AsyncClient) -> None:
        now = door.app.world.now()
        await write(
            door,
            [ended(now - timedelta(hours=1), 1, duration_ms=90), ended(now - timedelta(days=8), 2, duration_ms=60)],
        )
        await roll(door)
        [job] = (await admin.get(f"{PATH}/reports/performance")).json()["jobs"]
        assert (job["key"], job["p95DurationMs"], job["earlierP95DurationMs"], job["p95Change"]) == (
            "nightly", 90, 60, 0.5
        )  # fmt: skip

    async def test_failures_tell_since_when_and_what_a_deployment_did(
        self, door: Door, admin: httpx2.AsyncClient
    ) -> None:
        now = door.app.world.now()
        old = await start_node(door, now - timedelta(hours=48), "1.0")
        new = await start_node(door, now - timedelta(hours=1), "1.1")
        rows = [
            ended(now - timedelta(hours=20), 1, status="failed", error_fingerprint="gone", node_id=old),
            ended(now - timedelta(hours=20), 2, status="failed", error_fingerprint="both", node_id=old),
            ended(now - timedelta(minutes=20), 3, status="failed", error_fingerprint="both", node_id=new),
            ended(now - timedelta(minutes=20), 4, status="failed", error_fingerprint="new", node_id=new),
            ended(now - timedelta(days=30), 5, status="failed", error_fingerprint="gone", node_id=None),
        ]
        await write(door, rows)
        report = (await admin.get(f"{PATH}/reports/failures")).json()
        told = {row["fingerprint"]: row for row in report["failures"]}
        assert {name: row["verdict"] for name, row in told.items()} == {"both": "known", "gone": "gone", "new": "new"}
        both = told["both"]
        assert (both["beforeDeployment"], both["afterDeployment"]) == (1, 1)
        assert both["byCodeVersion"] == {"1.0": 1, "1.1": 1}
        assert (both["count"], both["share"]) == (2, 0.5)
        assert told["gone"]["firstSeen"][:10] == (now - timedelta(days=30)).isoformat()[:10], "before the span, too"
        assert [item["codeVersion"] for item in report["deployments"]] == ["1.0", "1.1"]
        table = await admin.get(f"{PATH}/reports/failures", params={"format": "csv"})
        lines = {line["fingerprint"]: line for line in csv.DictReader(io.StringIO(table.text))}
        assert json.loads(lines["both"]["byCodeVersion"]) == both["byCodeVersion"]

    async def test_trends_say_where_a_job_is_heading(self, door: Door, admin: httpx2.AsyncClient) -> None:
        now = door.app.world.now()
        await admin.patch(f"{PATH}/nightly", json={"timeout": 3})
        rows = [ended(now - timedelta(days=20 - day), day, duration_ms=1_000 + 100 * day) for day in range(20)]
        await write(door, rows)
        await roll(door)
        [job] = (await admin.get(f"{PATH}/reports/trends")).json()["jobs"]
        trend = job["p95DurationMs"]
        assert (trend["direction"], trend["perDay"]) == ("rising", 100.0)
        assert trend["reachesLimitInDays"] in {0, 1}
        later = {"to": (now + timedelta(days=1)).isoformat(), "from": (now - timedelta(days=30)).isoformat()}
        await admin.patch(f"{PATH}/nightly", json={"timeout": 4.03})
        [today], [tomorrow] = [
            (await admin.get(f"{PATH}/reports/trends", params=params)).json()["jobs"]
            for params in ({**later, "to": now.isoformat()}, later)
        ]
        days = [job["p95DurationMs"]["reachesLimitInDays"] for job in (today, tomorrow)]
        assert days[0] - days[1] == 1, "counted from the end of the span, and not from the last run"
        assert job["runs"]["direction"] == "steady"

    @pytest.mark.parametrize("report", ["stats", "reports/performance", "reports/failures", "reports/trends"])
    async def test_each_report_is_a_table_too(self, door: Door, admin: httpx2.AsyncClient, report: str) -> None:
        now = door.app.world.now()
        await write(door, [ended(now, 1, status="failed", error_fingerprint="f", error_message="=1+1")])
        await roll(door)
        answer = await admin.get(f"{PATH}/{report}", params={"format": "csv"})
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        header, row = csv.reader(io.StringIO(answer.text))
        assert len(header) == len(row)
        assert "nightly" in row
        assert "=1+1" not in row, "no formula"

    async def test_a_span_that_is_none_is_refused(self, admin: httpx2.AsyncClient) -> None:
        query = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
        assert (await admin.get(f"{PATH}/stats", params=query)).status_code == 422


async def test_the_audit_is_paged_and_filtered(admin: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await admin.post(f"{PATH}/nightly/pause", json={"reason": "a"})
    await admin.post(f"{PATH}/nightly/resume")
    everything = (await admin.get("/admin/audit")).json()
    assert [entry["action"] for entry in everything["entries"]] == ["schedule.resume", *3 * ["schedule.pause"]]
    first = await admin.get("/admin/audit", params={"action": "schedule.pause", "pageSize": 2})
    assert (first.json()["total"], len(first.json()["entries"])) == (3, 2)
    rest = (await admin.get(first.links["next"]["url"])).json()
    assert len(rest["entries"]) == 1
    assert (await admin.get("/admin/audit", params={"allowed": False})).json()["total"] == 0


async def test_nodes_tell_what_they_run(door: Door, admin: httpx2.AsyncClient) -> None:
    now = door.app.world.now()
    await start_node(door, now, "1.0")
    told = (await admin.get("/admin/nodes")).json()
    assert told["total"] == 1
    assert (told["nodes"][0]["name"], told["nodes"][0]["running"], told["nodes"][0]["draining"]) == ("1.0", [], None)


async def test_how_many_nodes_are_wanted_is_told_with_its_reasons(door: Door, admin: httpx2.AsyncClient) -> None:
    idle = (await admin.get("/admin/nodes/wanted")).json()
    assert (idle["wanted"], idle["targetWaitSeconds"]) == (0, 30)
    for _ in range(7):
        await door.app.enqueue("greet", organization_id="acme", user_id="ada")
    told = (await admin.get("/admin/nodes/wanted")).json()
    assert (told["wanted"], told["waiting"], told["nodes"]) == (1, 5, 0)
