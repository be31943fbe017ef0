"""`/api/jobs`: code owns what runs, admins own when; each change is in force at once, audited, and undoes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring import Cron
from mainspring.builtin.tracked_program import TrackedProgram
from mainspring.domain.access import Role
from mainspring.domain.execution import Status
from mainspring.jobs.registry import JobRegistry
from mainspring.store.jobs import registration
from mainspring.store.queue import history
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import executions, executions_live, schedules

if TYPE_CHECKING:
    from uuid import UUID

    import httpx2

    from tests.api.conftest import Door

FIELDS = {
    "name", "serviceName", "serviceUrl", "displayName", "description", "cronExpression", "cronDescription", "jobType",
    "enabled", "config", "jobGroup", "queue", "timezone", "retired", "orphaned", "timeout", "retry", "thresholds",
    "rateLimit", "maxRunning", "breaker", "overlap", "misfire", "catchUp", "jitter", "dependsOn", "notify",
    "hasCondition", "override", "pause", "code", "nextRunAt", "problem", "lastRun", "running", "successRate",
    "averageDurationMs", "createdAt", "updatedAt", "version",
}  # fmt: skip


@pytest.fixture
async def admin(door: Door) -> httpx2.AsyncClient:
    """An admin of the platform, whose jobs are registered."""
    await door.register_jobs()
    return await door.client(door.token("root", Role.ADMIN, None))


async def end_runs(door: Door, *, status: Status = Status.SUCCEEDED, duration_ms: int = 1000, items: int = 0) -> None:
    """End every run of the job, as if it had begun just now and taken that long."""
    live = executions_live.c
    of_job = sa.select(live.id).where(live.job_name == "nightly")

    def end(connection: Any) -> None:
        ids: list[UUID] = list(connection.execute(of_job).scalars())
        history.end_live(connection, ids, status=status, stages=history.NOT_STARTED)
        for execution_id in ids:
            connection.execute(
                sa.update(executions)
                .where(executions.c.id == execution_id)
                .values(started_at=executions.c.created_at, duration_ms=duration_ms, items_processed=items)
            )

    await door.services.database.tx(end)


async def run_once(door: Door, admin: httpx2.AsyncClient, **ended: Any) -> str:
    answer = await admin.post("/api/jobs/nightly/trigger")
    await end_runs(door, **ended)
    return answer.json()["executionId"]


DOCUMENTED_THRESHOLDS = ("staleness", "failureRate", "executionTime", "consecutiveFailures")


# ---- Reading ---------------------------------------------------------------------------------------------------------


async def test_the_list_holds_the_jobs_that_have_a_schedule(admin: httpx2.AsyncClient) -> None:
    body = (await admin.get("/api/jobs")).json()
    assert [job["name"] for job in body["jobs"]] == ["nightly", "platform-self-check"]
    assert (body["total"], body["page"], body["pageSize"], body["totalPages"]) == (2, 1, 25, 1)
    assert body["jobs"][0].keys() == FIELDS


async def test_a_job_says_what_code_declares_and_when_it_fires(admin: httpx2.AsyncClient) -> None:
    job = (await admin.get("/api/jobs/nightly")).json()
    job["thresholds"] = {name: job["thresholds"][name] for name in DOCUMENTED_THRESHOLDS}
    assert job | {"createdAt": "", "updatedAt": "", "nextRunAt": ""} == {
        "name": "nightly",
        "serviceName": None,
        "serviceUrl": None,
        "displayName": "nightly",
        "description": "Send what nobody reads.",
        "cronExpression": "0 9 * * MON",
        "cronDescription": "Every Monday at 9:00 AM",
        "jobType": "email",
        "enabled": True,
        "config": {},
        "jobGroup": "mail",
        "queue": "default",
        "timezone": "Europe/Rome",
        "retired": False,
        "orphaned": None,
        "timeout": 3600.0,
        "retry": None,
        "thresholds": {"staleness": None, "failureRate": 0.2, "executionTime": None, "consecutiveFailures": 3},
        "rateLimit": None,
        "maxRunning": 1,
        "breaker": None,
        "overlap": "skip",
        "misfire": "fire_once",
        "catchUp": 86400.0,
        "jitter": 0.0,
        "dependsOn": [],
        "notify": [],
        "hasCondition": False,
        "override": None,
        "pause": None,
        "code": {"cronExpression": "0 9 * * MON", "timezone": "Europe/Rome", "enabled": True, "version": "1.0"},
        "nextRunAt": "",
        "problem": None,
        "lastRun": None,
        "running": False,
        "successRate": None,
        "averageDurationMs": None,
        "createdAt": "",
        "updatedAt": "",
        "version": job["version"],
    }
    assert job["nextRunAt"].endswith(":00:00.000Z")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("group=mail", True),
        ("group=other", False),
        ("jobType=email", True),
        ("search=NIGHT", True),
        ("search=%25", False),
        ("service=billing", False),
    ],
)
async def test_the_list_can_be_narrowed(admin: httpx2.AsyncClient, query: str, found: bool) -> None:  # noqa: FBT001
    assert (await admin.get(f"/api/jobs?{query}")).json()["total"] == int(found)


async def test_an_unknown_job_and_one_without_a_schedule_are_not_here(admin: httpx2.AsyncClient) -> None:
    for name in ("nowhere", "sweep"):
        answer = await admin.get(f"/api/jobs/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "JOB_NOT_FOUND")


async def test_figures_follow_from_the_runs(door: Door, admin: httpx2.AsyncClient) -> None:
    for duration_ms in (1000, 2000, 3000):
        await run_once(door, admin, duration_ms=duration_ms, items=5)
    await run_once(door, admin, status=Status.FAILED, duration_ms=6000)
    await run_once(door, admin, status=Status.CANCELLED, duration_ms=50_000)
    assert (await admin.get("/api/jobs/nightly/stats?days=7")).json() == {
        "days": 7,
        "total": 4,
        "succeeded": 3,
        "failed": 1,
        "successRate": 0.75,
        "averageDurationMs": 3000,
        "p95DurationMs": 6000,
        "itemsProcessed": 15,
    }
    job = (await admin.get("/api/jobs/nightly")).json()
    assert (job["successRate"], job["averageDurationMs"], job["lastRun"]["status"]) == (0.75, 3000, "cancelled")


async def test_history_shows_the_newest_run_first_with_who_asked_for_it(door: Door, admin: httpx2.AsyncClient) -> None:
    ids = [await run_once(door, admin) for _ in range(3)]
    body = (await admin.get("/api/jobs/nightly/history?pageSize=2")).json()
    assert [run["id"] for run in body["executions"]] == [ids[2], ids[1]]
    assert (body["total"], body["totalPages"]) == (3, 2)
    run = body["executions"][0]
    assert (run["jobName"], run["status"], run["triggeredBy"], run["triggeredByUser"]) == (
        "nightly",
        "succeeded",
        "admin",
        "root",
    )
    following = await admin.get("/api/jobs/nightly/history?pageSize=2&page=2")
    assert [run["id"] for run in following.json()["executions"]] == ids[:1]


# ---- Triggering ------------------------------------------------------------------------------------------------------


async def test_a_trigger_is_answered_as_the_document_says(door: Door, admin: httpx2.AsyncClient) -> None:
    answer = await admin.post(
        "/api/jobs/nightly/trigger", content='{"userId":"admin-user-id"}', headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 202
    assert answer.json() == {"executionId": answer.json()["executionId"], "message": "Job triggered successfully"}
    [run] = (await admin.get("/api/jobs/nightly/history")).json()["executions"]
    assert (run["id"], run["status"], run["triggeredByUser"]) == (
        answer.json()["executionId"],
        "queued",
        "admin-user-id",
    )
    [entry] = await door.audit("nightly")
    assert (entry.action, entry.actor) == ("job.trigger", "root")  # the token's subject, whatever the body says


async def test_a_job_that_has_not_ended_is_not_triggered_again(door: Door, admin: httpx2.AsyncClient) -> None:
    await admin.post("/api/jobs/nightly/trigger")
    again = await admin.post("/api/jobs/nightly/trigger")
    assert (again.status_code, again.json()["code"], again.json()["detail"]) == (
        409,
        "JOB_ALREADY_RUNNING",
        "Job already running",
    )
    await end_runs(door)
    assert (await admin.post("/api/jobs/nightly/trigger")).status_code == 202


async def test_a_job_that_cron_starts_is_started_by_nobody_else(door: Door, admin: httpx2.AsyncClient) -> None:
    registry = JobRegistry()
    registry.add(TrackedProgram("backup", ("backup.sh",), schedule=Cron("30 2 * * *")).definition, lambda: None)
    who = Firing.by(door.app.world, door.app.settings.environment)
    await door.app.opened.database.tx(lambda connection: registration.register(connection, who, registry))
    answer = await admin.post("/api/jobs/backup/trigger")
    assert (answer.status_code, answer.json()["code"]) == (409, "JOB_EXTERNAL")
    assert (await admin.get("/api/jobs/backup")).json()["nextRunAt"] is not None


async def test_a_trigger_with_a_key_is_done_once(door: Door, admin: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "release-42"}
    first = await admin.post("/api/jobs/nightly/trigger", json={"userId": "anna"}, headers=key)
    again = await admin.post("/api/jobs/nightly/trigger", json={"userId": "anna"}, headers=key)
    assert (again.status_code, again.content) == (first.status_code, first.content) == (202, first.content)
    await end_runs(door)
    assert (await admin.post("/api/jobs/nightly/trigger", json={"userId": "anna"}, headers=key)).json() == first.json()
    assert len(await door.audit("nightly")) == 1
    other = await admin.post("/api/jobs/nightly/trigger", json={"userId": "bert"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    somebody_else = await door.client(door.token("rudi", Role.ADMIN, None))
    theirs = await somebody_else.post("/api/jobs/nightly/trigger", json={"userId": "anna"}, headers=key)
    assert (theirs.status_code, theirs.json() == first.json()) == (202, False)


async def test_a_disabled_job_can_be_triggered(admin: httpx2.AsyncClient) -> None:
    await admin.post("/api/jobs/nightly/disable", json={"reason": "an incident"})
    assert (await admin.post("/api/jobs/nightly/trigger")).status_code == 202


# ---- When it fires ---------------------------------------------------------------------------------------------------


async def test_disabling_holds_until_it_is_taken_back(door: Door, admin: httpx2.AsyncClient) -> None:
    disabled = (await admin.post("/api/jobs/nightly/disable", json={"reason": "an incident"})).json()
    assert (disabled["enabled"], disabled["nextRunAt"]) == (False, None)
    assert disabled["override"] | {"at": ""} == {
        "cronExpression": None,
        "timezone": None,
        "enabled": False,
        "by": "root",
        "reason": "an incident",
        "at": "",
        "expiresAt": None,
        "enabledUntil": None,
    }
    await door.register_jobs()  # a deployment
    assert (await admin.get("/api/jobs/nightly")).json()["enabled"] is False
    enabled = (await admin.post("/api/jobs/nightly/enable")).json()
    assert enabled["enabled"] is True
    assert enabled["nextRunAt"] is not None
    assert [entry.action for entry in await door.audit("nightly")] == ["schedule.enable", "schedule.disable"]


async def test_a_job_is_disabled_until_an_instant_to_come(door: Door, admin: httpx2.AsyncClient) -> None:
    until = (door.app.world.now() + timedelta(hours=2)).isoformat()
    disabled = (await admin.post("/api/jobs/nightly/disable", json={"until": until})).json()
    assert disabled["override"]["enabledUntil"] is not None
    past = await admin.post("/api/jobs/nightly/disable", json={"until": "2020-01-01T00:00:00Z"})
    assert past.status_code == 422


async def test_a_new_expression_takes_the_place_of_the_code(door: Door, admin: httpx2.AsyncClient) -> None:
    before = (await admin.get("/api/jobs/nightly")).json()
    sent = {
        "cronExpression": "0 10 * * MON",
        "timezone": "Europe/Rome",
        "reason": "less load",
        "version": before["version"],
    }
    job = (await admin.put("/api/jobs/nightly/cron", json=sent)).json()
    assert (job["cronExpression"], job["cronDescription"]) == ("0 10 * * MON", "Every Monday at 10:00 AM")
    assert job["code"]["cronExpression"] == "0 9 * * MON"
    assert job["version"] > before["version"]
    [entry] = await door.audit("nightly")
    assert (entry.action, entry.reason) == ("schedule.edit", "less load")
    assert "0 9 * * MON" in str(entry.before)
    assert "0 10 * * MON" in str(entry.after)


async def test_an_invalid_expression_is_refused_with_its_place_and_the_old_one_stays(
    door: Door, admin: httpx2.AsyncClient
) -> None:
    answer = await admin.put("/api/jobs/nightly/cron", json={"cronExpression": "0 25 * * MON"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"], problem["position"]) == (
        422,
        "INVALID_CRON",
        "hour",
        3,
    )
    assert (await admin.get("/api/jobs/nightly")).json()["cronExpression"] == "0 9 * * MON"
    assert await door.audit("nightly") == []


async def test_whoever_has_seen_an_older_version_changes_nothing(admin: httpx2.AsyncClient) -> None:
    seen = (await admin.get("/api/jobs/nightly")).json()["version"]
    first = await admin.put("/api/jobs/nightly/cron", json={"cronExpression": "0 10 * * *", "version": seen})
    second = await admin.put("/api/jobs/nightly/cron", json={"cronExpression": "0 11 * * *", "version": seen})
    assert (first.status_code, second.status_code, second.json()["code"]) == (200, 409, "VERSION_CONFLICT")
    assert (await admin.get("/api/jobs/nightly")).json()["cronExpression"] == "0 10 * * *"


async def test_many_jobs_are_changed_each_for_itself(admin: httpx2.AsyncClient) -> None:
    body = {"action": "disable", "names": ["nightly", "nowhere"], "reason": "a freeze"}
    [done, refused] = (await admin.post("/api/jobs/bulk", json=body)).json()["results"]
    assert done == {"name": "nightly", "done": True, "executionIds": [], "error": None}
    assert (refused["done"], refused["error"]["code"]) == (False, "JOB_NOT_FOUND")
    assert (await admin.get("/api/jobs/nightly")).json()["enabled"] is False


async def test_many_jobs_are_triggered_once_under_one_idempotency_key(admin: httpx2.AsyncClient) -> None:
    body, headers = {"action": "trigger", "names": ["nightly", "nowhere"]}, {"Idempotency-Key": "k1"}
    first = (await admin.post("/api/jobs/bulk", json=body, headers=headers)).json()["results"]
    again = (await admin.post("/api/jobs/bulk", json=body, headers=headers)).json()["results"]
    assert again == first
    assert len(first[0]["executionIds"]) == 1
    [refused, _] = (await admin.post("/api/jobs/bulk", json=body)).json()["results"]
    assert refused["error"]["code"] == "JOB_ALREADY_RUNNING"


async def test_all_runs_of_many_jobs_are_cancelled(admin: httpx2.AsyncClient) -> None:
    execution_id = (await admin.post("/api/jobs/nightly/trigger")).json()["executionId"]
    body = {"action": "cancel", "names": ["nightly", "nowhere"]}
    [result, refused] = (await admin.post("/api/jobs/bulk", json=body)).json()["results"]
    assert (refused["done"], refused["error"]["code"]) == (False, "JOB_NOT_FOUND")
    assert result == {"name": "nightly", "done": True, "executionIds": [execution_id], "error": None}
    [run] = (await admin.get("/api/jobs/nightly/history")).json()["executions"]
    assert run["status"] == "cancelled"


# ---- Preview and ticks -----------------------------------------------------------------------------------------------


async def test_a_preview_changes_nothing_and_says_what_would_be(admin: httpx2.AsyncClient) -> None:
    preview = (await admin.get("/api/jobs/nightly/preview?cron=30+2+*+*+*&tz=Europe/Rome&count=400")).json()
    assert preview["code"] == "INVALID_REQUEST"  # a hundred instants at most
    preview = (await admin.get("/api/jobs/nightly/preview?cron=30+2+*+*+*&tz=Europe/Rome&count=100")).json()
    assert len(preview["next"]) == 100
    assert preview["words"] == "Every day at 2:30 AM"
    assert preview["runsPerWeek"] == {"now": 1, "then": 7}
    assert len(preview["clockChanges"]) == 2
    assert (await admin.get("/api/jobs/nightly")).json()["cronExpression"] == "0 9 * * MON"


async def test_a_preview_counts_what_fires_each_second(admin: httpx2.AsyncClient) -> None:
    preview = (await admin.get("/api/jobs/nightly/preview?cron=*+*+*+*+*+*")).json()
    assert preview["runsPerWeek"]["then"] == 7 * 24 * 3600


async def test_a_preview_names_what_fires_at_the_same_instant(door: Door, admin: httpx2.AsyncClient) -> None:
    app = door.app
    app.job("digests", schedule=Cron("7 * * * *"))(_nothing)  # when no job that comes with mainspring fires
    await door.register_jobs()
    preview = (await admin.get("/api/jobs/nightly/preview?cron=7,37+*+*+*+*&tz=UTC&count=2")).json()
    assert sorted(moment["collidesWith"] for moment in preview["next"]) == [[], ["digests"]]


async def test_a_preview_warns_where_a_run_outlasts_the_gap(door: Door, admin: httpx2.AsyncClient) -> None:
    await run_once(door, admin, duration_ms=120_000)
    preview = (await admin.get("/api/jobs/nightly/preview?cron=*+*+*+*+*")).json()
    assert (preview["usualDurationMs"], preview["shortestGapMs"]) == (120_000, 60_000)
    assert preview["warnings"] == ["a run usually takes 2 min, and the next would be due after 1 min"]


async def test_a_preview_of_what_can_never_fire_says_so(admin: httpx2.AsyncClient) -> None:
    answer = await admin.get("/api/jobs/nightly/preview?cron=0+0+30+2+*")
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_CRON")


async def test_ticks_say_why_a_job_did_not_run(door: Door, admin: httpx2.AsyncClient) -> None:
    assert (await admin.get("/api/jobs/nightly/ticks")).json() == {"ticks": []}
    answer = await admin.get("/api/jobs/nightly/ticks?from=yesterday")
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "from")


async def _nothing() -> None: ...


async def test_overrides_that_have_stood_long_are_found(door: Door, admin: httpx2.AsyncClient) -> None:
    await admin.put("/api/jobs/nightly/cron", json={"cronExpression": "0 10 * * *"})
    found: list[list[str]] = []
    for days_ago in (29, 31):
        at = door.app.world.now() - timedelta(days=days_ago)
        await door.services.database.tx(lambda c, at=at: c.execute(sa.update(schedules).values(override_at=at)))
        body = (await admin.get("/api/jobs?overrideOlderThanDays=30")).json()
        found.append([job["name"] for job in body["jobs"]])
    assert found == [[], ["nightly"]]
    expired = door.app.world.now() - timedelta(seconds=1)
    await door.services.database.tx(
        lambda connection: connection.execute(sa.update(schedules).values(override_expires_at=expired))
    )
    assert (await admin.get("/api/jobs?overrideOlderThanDays=30")).json()["total"] == 0
