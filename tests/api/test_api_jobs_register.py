"""`POST /api/jobs/register`: services declare what runs; what admins changed stays, and older code undoes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from mainspring.control.access import AccessChanges
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Actor, Role
from mainspring.security.secret_key import SecretKey
from mainspring.store.remote import services as stored_services
from tests.api.conftest import SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from mainspring.security.keys import NewKey
    from tests.api.conftest import Door

DIGEST: dict[str, Any] = {
    "name": "weekly-trending-digest",
    "serviceName": "email-service",
    "serviceUrl": "http://email-service:7006",
    "displayName": "Weekly Trending Digest",
    "description": "Send weekly email with trending content",
    "cronExpression": "0 9 * * MON",
    "jobType": "email",
    "enabled": False,
    "config": {"recipients": "all"},
}
"""The body of the scheduler document."""
ROOT = Actor.at_terminal("dev", "root")


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """The application, whose operator lets it call the service of the document."""
    app.settings.egress_allow = ("email-service",)
    return app


def keys_of(door: Door) -> KeyCommands:
    changes = AccessChanges(door.services.database, door.services.audit, forget=door.services.identity.forget)
    return KeyCommands(changes, SecretKey(SECRET_KEY.encode()), door.app.world)


@pytest.fixture
async def key(door: Door) -> NewKey:
    """The key of the service of the document."""
    return await keys_of(door).create_for_service(ROOT, "email-service", "weekly-")


@pytest.fixture
async def service(door: Door, key: NewKey) -> httpx2.AsyncClient:
    """The service of the document."""
    return await door.client(key.key)


@pytest.fixture
async def admin(door: Door) -> httpx2.AsyncClient:
    """An admin of the platform."""
    return await door.client(door.token("root", Role.ADMIN, None))


async def register(service: httpx2.AsyncClient, **said: Any) -> dict[str, Any]:
    """Register the job of the document, with changes."""
    answer = await service.post("/api/jobs/register", json=DIGEST | said)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


async def shown(admin: httpx2.AsyncClient, name: str = DIGEST["name"]) -> dict[str, Any]:
    return (await admin.get(f"/api/jobs/{name}")).json()


# ---- What is kept ----------------------------------------------------------------------------------------------------


async def test_a_service_registers_the_job_of_the_document(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    answer = await service.post("/api/jobs/register", json=DIGEST)
    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/api/jobs/{DIGEST['name']}")
    assert {name: job[name] for name in DIGEST} == DIGEST
    assert (job["outcome"], job["warnings"], job["timezone"], job["nextRunAt"]) == ("created", [], "UTC", None)
    assert await shown(admin) == {name: value for name, value in job.items() if name not in {"outcome", "warnings"}}


async def test_a_service_is_called_as_its_key_says_whatever_that_is(door: Door, admin: httpx2.AsyncClient) -> None:
    made = await keys_of(door).create_for_service(ROOT, "The E-Mail Service", "monthly-")
    service = await door.client(made.key)
    silent = {name: value for name, value in DIGEST.items() if name != "serviceName"} | {"name": "monthly-recap"}
    assert (await service.post("/api/jobs/register", json=silent)).json()["serviceName"] == "The E-Mail Service"
    assert (await register(service, name="monthly-recap", serviceName="The E-Mail Service"))["outcome"] == "unchanged"
    assert (await service.put("/api/services/The E-Mail Service/jobs", json={"names": []})).status_code == 200
    assert (await admin.get("/api/services/The%20E-Mail%20Service")).json()["orphanedJobs"] == 1


async def test_registering_the_same_again_changes_nothing(
    service: httpx2.AsyncClient, door: Door, admin: httpx2.AsyncClient
) -> None:
    first = await register(service)
    again = await service.post("/api/jobs/register", json=DIGEST)
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    assert again.json() | {"outcome": ""} == first | {"outcome": ""}
    assert [entry.action for entry in await door.audit(DIGEST["name"])] == ["job.register"]
    assert (await shown(admin))["version"] == first["version"]


async def test_a_job_is_disabled_until_an_admin_enables_it_and_its_body_says_so_only_once(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    silent = {name: value for name, value in DIGEST.items() if name != "enabled"}
    assert (await service.post("/api/jobs/register", json=silent)).json()["enabled"] is False
    assert (await register(service, enabled=True))["enabled"] is False
    await admin.post(f"/api/jobs/{DIGEST['name']}/enable")
    assert (await register(service, enabled=False, description="Another one"))["enabled"] is True


async def test_a_job_that_says_so_at_first_is_enabled(service: httpx2.AsyncClient) -> None:
    job = await register(service, enabled=True)
    assert (job["enabled"], job["nextRunAt"] is not None, job["code"]["enabled"]) == (True, True, True)


async def test_registering_changes_what_code_owns_and_nothing_that_an_admin_changed(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient, door: Door
) -> None:
    await register(service)
    path = f"/api/jobs/{DIGEST['name']}"
    await admin.put(f"{path}/cron", json={"cronExpression": "0 10 * * MON", "reason": "later"})
    await admin.post(f"{path}/enable", json={"reason": "it works"})
    before = await shown(admin)
    job = await register(service, displayName="Digest", cronExpression="30 7 * * *", timezone="Europe/Rome")
    assert (job["outcome"], job["displayName"]) == ("updated", "Digest")
    assert (job["cronExpression"], job["timezone"], job["enabled"]) == ("0 10 * * MON", "UTC", True)
    assert job["override"] == before["override"]
    assert (job["code"]["cronExpression"], job["code"]["timezone"]) == ("30 7 * * *", "Europe/Rome")
    entry = (await door.audit(DIGEST["name"]))[0]
    assert (entry.actor, entry.action) == ("email-service", "job.register")
    assert '"displayName":"Weekly Trending Digest"' in (entry.before or "")
    assert '"displayName":"Digest"' in (entry.after or "")


async def test_all_that_code_may_say_of_a_job_is_kept_and_shown(service: httpx2.AsyncClient) -> None:
    said: dict[str, Any] = {
        "timezone": "Europe/Rome",
        "jobGroup": "mail",
        "queue": "slow",
        "timeout": 90.0,
        "retry": {"maxRetries": 5, "base": 2.0, "factor": 3.0, "cap": 60.0, "jitter": 0.1, "deadline": 600.0},
        "thresholds": {"staleness": 1800.0, "failureRate": 0.5, "executionTime": 60.0, "consecutiveFailures": 2},
        "rateLimit": "10/h",
        "maxRunning": 2,
        "overlap": "queue",
        "misfire": "skip",
        "catchUp": 3600.0,
        "jitter": 30.0,
        "dependsOn": ["weekly-import"],
    }
    job = await register(service, **said)
    assert said["thresholds"].items() <= job["thresholds"].items()
    assert {name: job[name] for name in said} == said | {"thresholds": job["thresholds"]}


async def test_fields_that_mean_nothing_are_ignored_and_named(service: httpx2.AsyncClient) -> None:
    job = await register(service, colour="red", retry={"maxRetries": 1, "mood": "good"})
    assert job["warnings"] == ["colour", "retry.mood"]


async def test_a_job_without_an_expression_runs_when_it_is_asked_for(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    job = await register(service, cronExpression=None)
    assert (job["cronExpression"], job["enabled"], job["nextRunAt"]) == (None, False, None)
    assert (await admin.post(f"/api/jobs/{job['name']}/trigger")).status_code == 202


# ---- What is refused -------------------------------------------------------------------------------------------------


async def test_an_expression_that_cannot_be_read_is_refused_with_its_place_and_the_old_schedule_runs_on(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    await register(service, enabled=True)
    before = await shown(admin)
    answer = await service.post("/api/jobs/register", json=DIGEST | {"cronExpression": "0 25 * * MON"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "INVALID_CRON", "hour")
    assert problem["position"] == 3
    assert await shown(admin) == before


@pytest.mark.parametrize(
    ("said", "refusal", "hint"),
    [
        ({"name": "other-digest"}, (403, "PERMISSION_DENIED"), "begin with 'weekly-'"),
        ({"serviceName": "billing"}, (403, "PERMISSION_DENIED"), "email-service"),
        ({"serviceUrl": "http://10.0.0.7:7006"}, (422, "EGRESS_REFUSED"), "MAINSPRING_EGRESS_ALLOW"),
        ({"serviceUrl": "http://email-service:7006?a=b"}, (422, "EGRESS_REFUSED"), "query"),
        ({"serviceUrl": "ftp://email-service"}, (422, "EGRESS_REFUSED"), "http"),
        ({"codeVersion": "deadbeef"}, (422, "UNORDERED_VERSION"), "1.4.2"),
        ({"name": "weekly digest"}, (422, "INVALID_REQUEST"), "name"),
        ({"serviceUrl": None}, (422, "INVALID_REQUEST"), "serviceUrl"),
        ({"rateLimit": "often"}, (422, "UNFIT_JOB"), "often"),
        ({"timezone": "Europe/Rom"}, (422, "INVALID_CRON"), "Europe/Rome"),
        ({"config": {"text": "x" * 300_000}}, (422, "PAYLOAD_TOO_LARGE"), "config"),
    ],
)
async def test_what_cannot_be_registered_is_refused_and_says_what_to_do(
    service: httpx2.AsyncClient, door: Door, said: dict[str, Any], refusal: tuple[int, str], hint: str
) -> None:
    answer = await service.post("/api/jobs/register", json=DIGEST | said)
    assert (answer.status_code, answer.json()["code"]) == refusal, answer.text
    assert hint in answer.json()["detail"]
    assert await door.services.database.read(lambda connection: stored_services.all_of(connection, "dev")) == []


async def test_jobs_that_would_run_after_each_other_for_ever_are_refused(service: httpx2.AsyncClient) -> None:
    await register(service, name="weekly-a", dependsOn=["weekly-b"])
    await register(service, name="weekly-b", dependsOn=["weekly-c"])
    answer = await service.post("/api/jobs/register", json=DIGEST | {"name": "weekly-c", "dependsOn": ["weekly-a"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "UNFIT_JOB")
    assert "'weekly-c' would run after itself" in answer.json()["detail"]


async def test_the_service_role_alone_registers_nothing_for_no_prefix_says_which_names(door: Door) -> None:
    stranger = await door.client(door.token("email-service", Role.SERVICE, None))
    answer = await stranger.post("/api/jobs/register", json=DIGEST)
    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
    assert "mainspring key create" in answer.json()["detail"]


async def test_a_job_of_the_application_itself_is_not_taken_over(door: Door, app: Mainspring) -> None:
    made = await keys_of(door).create_for_service(ROOT, "email-service", "night")
    service = await door.client(made.key)
    answer = await service.post("/api/jobs/register", json=DIGEST | {"name": "nightly"})
    assert (answer.status_code, answer.json()["code"]) == (409, "JOB_ELSEWHERE")
    assert "take it out there" in answer.json()["detail"]


async def test_a_job_of_another_service_is_not_taken_over_while_that_one_has_a_key_for_its_name(
    service: httpx2.AsyncClient, door: Door, key: NewKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await register(service)

    def find_room(*_args: object) -> None: ...

    # Two admins at once may give both a prefix: each looks before the other has written.
    monkeypatch.setattr("mainspring.control.keys._require_room", find_room)
    other = await door.client((await keys_of(door).create_for_service(ROOT, "mailer", "weekly-")).key)
    answer = await other.post("/api/jobs/register", json=DIGEST | {"serviceName": "mailer"})
    assert (answer.status_code, answer.json()["code"]) == (409, "JOB_ELSEWHERE")
    await keys_of(door).revoke(ROOT, key.id)
    moved = await register(other, serviceName="mailer")
    assert (moved["outcome"], moved["serviceName"], moved["createdAt"]) == ("updated", "mailer", first["createdAt"])


async def test_a_service_has_so_many_jobs_and_no_more(
    service: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.control.service_job_checks.MOST_JOBS", 2)
    for name in ("weekly-one", "weekly-two", "weekly-one"):
        await register(service, name=name)
    refused = await service.post("/api/jobs/register", json=DIGEST | {"name": "weekly-three"})
    assert (refused.status_code, refused.json()["code"]) == (422, "TOO_MANY_JOBS")
    await service.put(f"/api/services/{DIGEST['serviceName']}/jobs", json={"names": ["weekly-one"]})
    assert (await register(service, name="weekly-three"))["outcome"] == "created"


# ---- Which build is newer --------------------------------------------------------------------------------------------


async def test_an_older_build_cannot_roll_a_newer_one_back_however_often_both_register(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    older = {"codeVersion": "1.9.0", "cronExpression": "0 9 * * *", "displayName": "Old"}
    newer = {"codeVersion": "1.10.0", "cronExpression": "0 8 * * *", "displayName": "New"}
    await register(service, **older)
    await admin.put(f"/api/jobs/{DIGEST['name']}/cron", json={"cronExpression": "0 10 * * MON", "reason": "later"})
    override = (await shown(admin))["override"]
    outcomes = [(await register(service, **(older, newer)[turn % 2]))["outcome"] for turn in range(100)]
    assert outcomes == ["unchanged", "updated", *["superseded", "unchanged"] * 49]
    job = await shown(admin)
    assert (job["displayName"], job["code"]["version"]) == ("New", "1.10.0")
    assert (job["code"]["cronExpression"], job["cronExpression"]) == ("0 8 * * *", "0 10 * * MON")
    assert job["override"] == override


async def test_two_builds_that_register_at_once_leave_the_newer_one_in_force(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    builds = [{"codeVersion": str(number), "displayName": f"Build {number}"} for number in (7, 12, 9, 30, 11)]
    await asyncio.gather(*(register(service, **build) for build in builds))
    assert (await shown(admin))["displayName"] == "Build 30"


async def test_code_without_a_version_is_older_than_code_with_one(service: httpx2.AsyncClient) -> None:
    await register(service, codeVersion="1.0.0")
    assert (await register(service, displayName="Another"))["outcome"] == "superseded"


async def test_a_newer_build_that_says_the_same_still_keeps_an_older_one_out(service: httpx2.AsyncClient) -> None:
    for version in ("1", "3"):
        await register(service, codeVersion=version)
    assert (await register(service, codeVersion="2", displayName="Another"))["outcome"] == "superseded"


# ---- From code to a service and back ---------------------------------------------------------------------------------


async def test_a_job_moves_from_code_to_a_service_and_back_with_its_history_and_its_override(
    door: Door, admin: httpx2.AsyncClient, app: Mainspring, open_door: Callable[..., Any]
) -> None:
    await door.register_jobs()
    await admin.put("/api/jobs/nightly/cron", json={"cronExpression": "0 10 * * MON", "reason": "later"})
    run = (await admin.post("/api/jobs/nightly/trigger")).json()["executionId"]
    before = await shown(admin, "nightly")
    made = await keys_of(door).create_for_service(ROOT, "email-service", "night")
    # The next deployment of the application has the job no more.
    without = Mainspring(database_url=app.settings.database_url, secret_key=SECRET_KEY, egress_allow=("email-service",))
    async with open_door(without) as other_door:
        service = await other_door.client(made.key)
        moved = await register(service, name="nightly")
    assert (moved["outcome"], moved["serviceName"], moved["createdAt"]) == (
        "updated",
        "email-service",
        before["createdAt"],
    )
    assert (moved["override"], moved["enabled"]) == (before["override"], True)
    # The one after that has it again.
    await door.register_jobs()
    back = await shown(admin, "nightly")
    assert (back["serviceName"], back["serviceUrl"], back["orphaned"]) == (None, None, None)
    assert (back["override"], back["code"]) == (before["override"], before["code"])
    history = (await admin.get("/api/jobs/nightly/history")).json()
    assert [execution["id"] for execution in history["executions"]] == [run]


# ---- Jobs that a service has dropped ---------------------------------------------------------------------------------


async def test_jobs_that_a_service_lists_no_more_are_orphaned_and_come_back_with_the_code(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient, door: Door
) -> None:
    await register(service, enabled=True)
    await register(service, name="weekly-recap")
    await admin.put("/api/jobs/weekly-recap/cron", json={"cronExpression": "0 10 * * MON", "reason": "later"})
    listed = await service.put("/api/services/email-service/jobs", json={"names": [DIGEST["name"]]})
    assert (listed.status_code, listed.json()) == (200, {"orphaned": ["weekly-recap"], "superseded": False})
    job = await shown(admin, "weekly-recap")
    assert (job["retired"], job["orphaned"]["reason"], job["nextRunAt"]) == (True, "undeclared", None)
    assert "weekly-recap" in [
        job["name"] for job in (await admin.get("/api/jobs?service=email-service")).json()["jobs"]
    ]
    assert (await admin.post("/api/jobs/weekly-recap/trigger")).status_code == 404
    assert [entry.action for entry in await door.audit("email-service")] == ["service.list_jobs"]
    assert (await service.put("/api/services/email-service/jobs", json={"names": [DIGEST["name"]]})).json() == {
        "orphaned": [],
        "superseded": False,
    }
    back = await register(service, name="weekly-recap")
    assert (back["retired"], back["orphaned"], back["override"]) == (False, None, job["override"])


async def test_an_older_build_neither_drops_nor_brings_back_what_a_newer_one_listed(
    service: httpx2.AsyncClient,
) -> None:
    await register(service, codeVersion="2")
    await register(service, name="weekly-recap", codeVersion="1")
    path = "/api/services/email-service/jobs"
    newer = await service.put(path, json={"names": [DIGEST["name"]], "codeVersion": "2"})
    assert newer.json()["orphaned"] == ["weekly-recap"]
    older = await service.put(path, json={"names": ["weekly-recap"], "codeVersion": "1"})
    assert older.json() == {"orphaned": [], "superseded": True}
    assert (await register(service, name="weekly-recap", codeVersion="1"))["outcome"] == "superseded"


async def test_a_list_of_older_code_drops_no_job_that_newer_code_has_registered(service: httpx2.AsyncClient) -> None:
    await register(service, codeVersion="2")
    await register(service, name="weekly-recap", codeVersion="1")
    path = "/api/services/email-service/jobs"
    assert (await service.put(path, json={"names": []})).json()["orphaned"] == []
    assert (await service.put(path, json={"names": [], "codeVersion": "1"})).json()["orphaned"] == ["weekly-recap"]


async def test_a_service_speaks_for_nobody_else(service: httpx2.AsyncClient) -> None:
    answer = await service.put("/api/services/billing/jobs", json={"names": []})
    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


async def test_a_service_is_shown_with_its_health_its_breaker_and_its_jobs(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient, door: Door, key: NewKey
) -> None:
    await register(service, codeVersion="1.4.2")
    [shown_service] = (await admin.get("/api/services")).json()["services"]
    assert shown_service == (await admin.get("/api/services/email-service")).json()
    assert (shown_service["url"], shown_service["keyId"]) == ("http://email-service:7006", str(key.id))
    assert shown_service["health"] == {"status": "unknown", "since": None, "checkedAt": None, "error": None}
    assert shown_service["breaker"] == {"state": "closed", "until": None, "consecutiveFailures": 0, "lastError": None}
    [job] = shown_service["jobs"]
    assert (job["name"], job["codeVersion"], job["orphaned"], job["retired"]) == (DIGEST["name"], "1.4.2", None, False)
    assert job["declaredAt"] is not None
    unknown = await admin.get("/api/services/nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "SERVICE_NOT_FOUND")


async def test_a_job_whose_service_does_not_know_it_is_orphaned_until_it_answers_or_registers_again(
    service: httpx2.AsyncClient, admin: httpx2.AsyncClient, door: Door
) -> None:
    await register(service)
    database = door.services.database
    lost = [await database.tx(lambda c: stored_services.lost_callback(c, "dev", DIGEST["name"])) for _ in range(2)]
    assert lost == [True, False]
    job = await shown(admin)
    assert (job["retired"], job["orphaned"]["reason"]) == (False, "callback_missing")
    assert (await admin.get("/api/services")).json()["services"][0]["orphanedJobs"] == 1
    assert await database.tx(lambda c: stored_services.found_callback(c, "dev", DIGEST["name"]))
    assert (await shown(admin))["orphaned"] is None
    await database.tx(lambda c: stored_services.lost_callback(c, "dev", DIGEST["name"]))
    assert (await register(service))["orphaned"] is None
