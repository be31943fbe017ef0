"""The views hold exactly the columns of the seed documents, in the words of each document's door."""
# ruff: noqa: S608 - the names of views stand in this file

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status, Trigger
from mainspring.domain.job import JobDefinition
from mainspring.domain.result import JobResult
from mainspring.domain.schedule import Cron, Every
from mainspring.jobs.registry import JobRegistry
from mainspring.store.jobs import registration, retirement
from mainspring.store.queue import history
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import definitions as definitions_table
from mainspring.store.tables import schedules
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock

COLUMNS = {
    "jobs": (
        "id organization_id user_id job_type status priority retry_count max_retries payload result error_message "
        "progress total_steps current_step started_at completed_at scheduled_at created_at updated_at"
    ),
    "job_schedules": (
        "name service_name service_url display_name description cron_expression job_type enabled config created_at "
        "updated_at"
    ),
    "job_executions": (
        "id job_name status started_at completed_at duration_ms items_processed items_succeeded items_failed "
        "error_message triggered_by triggered_by_user result"
    ),
    "cron_job_executions": (
        "id job_name job_group status started_at completed_at duration error metadata next_run_at last_heartbeat "
        "attempt max_attempts created_at updated_at"
    ),
    "job_runs": (
        "id job_name status message_code summary details error_code error_message duration_ms started_at completed_at "
        "created_at"
    ),
}


async def rows(database: Database, view: str) -> list[dict[str, Any]]:
    """Return the rows of a view, with JSON and ids read, so that both databases compare alike."""
    found = await database.read(
        lambda connection: connection.execute(sa.text(f"select * from mainspring.{view} order by 1")).mappings().all()
    )
    return [{key: _read(key, value) for key, value in row.items()} for row in found]


def _read(column: str, value: object) -> object:
    if column in {"payload", "result", "error", "metadata", "details", "config"} and isinstance(value, str):
        return json.loads(value)
    return str(value) if column == "id" else value


async def row(database: Database, view: str) -> dict[str, Any]:
    (found,) = await rows(database, view)
    return found


async def register(database: Database, *declared: JobDefinition, is_object: bool = False) -> None:
    registry = JobRegistry()
    for definition in declared:
        registry.add(definition, lambda: None, is_object=is_object)
    await database.tx(lambda connection: registration.register(connection, Firing.by(RealWorld(), "test"), registry))


async def one_of_each_status(lab: Lab, **fields: object) -> dict[Status, UUID]:
    """Bring one execution into every status, and return their ids."""
    made: dict[Status, UUID] = {}
    for status in (Status.SUCCEEDED, Status.FAILED):
        made[status] = await lab.enqueue_one(**fields)
        error = json.dumps({"code": "MAIL_DOWN", "message": "no mail"}) if status is Status.FAILED else None
        message = "no mail" if error else None
        await lab.finish(lab.end(await lab.claim_one(), status, error=error, error_message=message))
    made[Status.RETRYING] = await lab.enqueue_one(**fields)
    await lab.release(await lab.claim_one(), wait_seconds=3600.0, adds_retry=True, error_message="once more")
    made[Status.RUNNING] = await lab.enqueue_one(**fields)
    await lab.claim_one(node_id=await lab.register_node())
    for status in (Status.CANCELLED, Status.SKIPPED):
        made[status] = await lab.enqueue_one(**fields)
        await end_queued(lab, made[status], status)
    made[Status.QUEUED] = await lab.enqueue_one(**fields)
    return made


async def end_queued(lab: Lab, execution_id: UUID, status: Status) -> None:
    reason = "job is disabled" if status is Status.SKIPPED else None
    await lab.database.tx(
        lambda connection: history.end_live(
            connection, [execution_id], status=status, stages=(Stage.READY,), skip_reason=reason
        )
    )


@pytest.mark.parametrize("view", COLUMNS)
async def test_a_view_has_the_columns_of_its_document(database: Database, view: str) -> None:
    result = await database.read(
        lambda connection: list(connection.execute(sa.text(f"select * from mainspring.{view}")).keys())
    )
    assert result == COLUMNS[view].split()


IN_JOBS = {
    Status.QUEUED: "queued",
    Status.RETRYING: "retrying",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "cancelled",
}
IN_JOB_EXECUTIONS = IN_JOBS | {Status.SKIPPED: "skipped"}
IN_CRON_JOB_EXECUTIONS = {
    Status.QUEUED: "pending",
    Status.RETRYING: "pending",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.SKIPPED: "cancelled",
}
IN_JOB_RUNS = {
    Status.QUEUED: "pending",
    Status.RETRYING: "pending",
    Status.RUNNING: "running",
    Status.SUCCEEDED: "success",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
    Status.SKIPPED: "skipped",
}


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("jobs", IN_JOBS),
        ("job_executions", IN_JOB_EXECUTIONS),
        ("cron_job_executions", IN_CRON_JOB_EXECUTIONS),
        ("job_runs", IN_JOB_RUNS),
    ],
)
async def test_statuses_are_in_the_words_of_the_door(lab: Lab, view: str, words: dict[Status, str]) -> None:
    await register(lab.database, JobDefinition("job", schedule=Every(hours=1)), is_object=True)
    made = await one_of_each_status(lab, organization_id="acme")
    found = {item["id"]: item["status"] for item in await rows(lab.database, view)}
    assert found == {str(id_): words[status] for status, id_ in made.items()}


async def test_jobs_holds_executions_of_organizations_alone(lab: Lab) -> None:
    await lab.enqueue_one()
    id_ = await lab.enqueue_one(
        organization_id="acme", user_id="anna", payload='{"format": "csv"}', priority=5, max_retries=3
    )
    found = await row(lab.database, "jobs")
    assert found["id"] == str(id_)
    assert (found["organization_id"], found["user_id"], found["job_type"]) == ("acme", "anna", "job")
    assert (found["payload"], found["priority"], found["max_retries"]) == ({"format": "csv"}, 5, 3)
    assert found["result"] is found["started_at"] is found["completed_at"] is None


async def test_jobs_without_a_payload_have_an_empty_one(lab: Lab) -> None:
    await lab.enqueue_one(organization_id="acme")
    assert (await row(lab.database, "jobs"))["payload"] == {}


async def test_a_skipped_job_says_why_in_its_error_message(lab: Lab) -> None:
    await end_queued(lab, await lab.enqueue_one(organization_id="acme"), Status.SKIPPED)
    assert (await row(lab.database, "jobs"))["error_message"] == "job is disabled"


async def test_instants_are_utc_with_milliseconds(lab: Lab) -> None:
    execution = await lab.get(await lab.enqueue_one(organization_id="acme"))
    shown = (await row(lab.database, "jobs"))["created_at"]
    if lab.database.dialect_name == "postgresql":
        assert shown == execution.created_at
    else:
        assert shown == execution.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_scheduler_and_tracking_show_jobs_with_a_schedule_or_a_service(lab: Lab) -> None:
    await register(
        lab.database,
        JobDefinition("nightly", schedule=Cron("0 2 * * *")),
        JobDefinition("remote"),
        JobDefinition("adhoc"),
    )
    await lab.database.tx(
        lambda connection: connection.execute(
            sa.update(definitions_table).where(definitions_table.c.name == "remote").values(service_name="mail-service")
        )
    )
    for name in ("nightly", "remote", "adhoc", "unknown"):
        await lab.enqueue_one(job_name=name)
    for view in ("job_executions", "cron_job_executions"):
        assert {item["job_name"] for item in await rows(lab.database, view)} == {"nightly", "remote"}
    assert {item["name"] for item in await rows(lab.database, "job_schedules")} == {"nightly", "remote"}


async def test_another_environment_lends_no_schedule(lab: Lab) -> None:
    await register(lab.database, JobDefinition("job", schedule=Every(hours=1)), is_object=True)
    await lab.enqueue_one(environment="staging")
    for view in ("job_executions", "cron_job_executions", "job_runs"):
        assert await rows(lab.database, view) == []


@pytest.mark.parametrize(
    ("trigger", "shown"),
    [
        (Trigger.CRON, "cron"),
        (Trigger.INTERVAL, "cron"),
        (Trigger.STARTUP, "cron"),
        (Trigger.SYSTEM, "cron"),
        (Trigger.DEPENDENCY, "cron"),
        (Trigger.API, "api"),
        (Trigger.ADMIN, "admin"),
    ],
)
async def test_what_triggered_a_run_is_cron_admin_or_api(lab: Lab, trigger: Trigger, shown: str) -> None:
    await register(lab.database, JobDefinition("job", schedule=Every(hours=1)))
    await lab.enqueue_one(trigger=trigger, user_id="anna")
    found = await row(lab.database, "job_executions")
    assert (found["triggered_by"], found["triggered_by_user"]) == (shown, "anna")


async def test_a_schedule_shows_what_is_in_force(lab: Lab, clock: StoreClock) -> None:
    declared = JobDefinition(
        "nightly",
        display_name="Nightly",
        description="Cleans up.",
        job_type="cleanup",
        schedule=Cron("0 2 * * *"),
        config={"days": 30},
    )
    await register(lab.database, declared)
    found = await row(lab.database, "job_schedules")
    assert (found["display_name"], found["description"], found["job_type"]) == ("Nightly", "Cleans up.", "cleanup")
    assert (found["cron_expression"], found["config"]) == ("0 2 * * *", {"days": 30})
    assert found["enabled"]

    now = datetime.now(UTC)  # noqa: TID251 - views have the clock of the database itself
    await change_schedule(lab.database, override_expression="0 3 * * *", override_enabled=False, override_at=now)
    found = await row(lab.database, "job_schedules")
    assert (found["cron_expression"], bool(found["enabled"])) == ("0 3 * * *", False)

    await change_schedule(lab.database, override_expires_at=now - timedelta(seconds=1))
    found = await row(lab.database, "job_schedules")
    assert (found["cron_expression"], bool(found["enabled"])) == ("0 2 * * *", True)

    await change_schedule(lab.database, paused_at=now, paused_until=now + timedelta(hours=1))
    assert not (await row(lab.database, "job_schedules"))["enabled"]

    await change_schedule(lab.database, paused_until=now - timedelta(seconds=1))
    assert (await row(lab.database, "job_schedules"))["enabled"]

    await lab.database.tx(lambda connection: retirement.retire_others(connection, "test", None, []))
    assert not (await row(lab.database, "job_schedules"))["enabled"]


async def change_schedule(database: Database, **values: object) -> None:
    await database.tx(lambda connection: connection.execute(sa.update(schedules).values(**values)))


async def test_tracking_shows_group_attempts_duration_error_and_metadata(lab: Lab) -> None:
    await register(lab.database, JobDefinition("job", group="email", schedule=Every(hours=1)))
    await change_schedule(lab.database, next_run_at=datetime(2027, 1, 1, tzinfo=UTC))
    await lab.enqueue_one(max_retries=2)
    result = json.dumps(JobResult(items_processed=3, metadata={"mails": 3}).as_json())
    error = json.dumps({"code": "X", "message": "boom"})
    await lab.fail(await lab.claim_one(), result=result, error=error, error_message="boom", duration_ms=1234)
    found = await row(lab.database, "cron_job_executions")
    assert (found["job_group"], found["attempt"], found["max_attempts"]) == ("email", 1, 3)
    assert (found["duration"], found["error"]["code"], found["metadata"]) == (1234, "X", {"mails": 3})
    assert re.match(r"2027-01-01", str(found["next_run_at"]))


async def test_a_running_job_lives_as_long_as_its_node(lab: Lab) -> None:
    await register(lab.database, JobDefinition("job", schedule=Every(hours=1)))
    await lab.enqueue_one()
    await lab.claim_one(node_id=await lab.register_node())
    found = await row(lab.database, "cron_job_executions")
    assert found["last_heartbeat"] is not None
    assert found["completed_at"] is found["duration"] is None


async def test_a_skipped_run_tells_its_reason_as_error(lab: Lab) -> None:
    await register(lab.database, JobDefinition("job", schedule=Every(hours=1)))
    await end_queued(lab, await lab.enqueue_one(), Status.SKIPPED)
    assert (await row(lab.database, "cron_job_executions"))["error"] == {"message": "job is disabled"}
    assert (await row(lab.database, "job_executions"))["error_message"] == "job is disabled"


async def test_a_platform_run_shows_code_summary_and_details(lab: Lab) -> None:
    await register(lab.database, JobDefinition("job"), is_object=True)
    await lab.enqueue_one()
    said = JobResult(message_code="DIGEST_SENT", summary="3 sent", details={"sent": 3})
    end = lab.end(
        await lab.claim_one(), message_code=said.message_code, summary=said.summary, result=json.dumps(said.as_json())
    )
    await lab.finish(end)
    found = await row(lab.database, "job_runs")
    assert (found["message_code"], found["summary"], found["details"]) == ("DIGEST_SENT", "3 sent", {"sent": 3})
    assert found["error_code"] is found["error_message"] is None


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        (Status.SUCCEEDED, Outcome.SUCCEEDED, "JOB_COMPLETED"),
        (Status.FAILED, Outcome.FAILED, "JOB_EXECUTION_ERROR"),
        (Status.FAILED, Outcome.TIMED_OUT, "JOB_TIMEOUT"),
        (Status.CANCELLED, Outcome.CANCELLED, "JOB_CANCELLED"),
    ],
)
async def test_a_platform_run_without_a_code_of_its_own_has_the_common_one(
    lab: Lab, status: Status, outcome: Outcome, code: str
) -> None:
    await register(lab.database, JobDefinition("job"), is_object=True)
    await lab.enqueue_one()
    await lab.finish(lab.end(await lab.claim_one(), status, outcome=outcome, result="[1, 2]"))
    found = await row(lab.database, "job_runs")
    assert found["message_code"] == code
    assert found["details"] == [1, 2]
    assert found["error_code"] == ("JOB_CANCELLED" if status is Status.CANCELLED else None)


async def test_platform_runs_are_those_of_jobs_registered_as_objects(lab: Lab) -> None:
    await register(lab.database, JobDefinition("job"))
    await lab.enqueue_one()
    assert await rows(lab.database, "job_runs") == []


async def test_one_run_is_looked_up_by_its_key_and_not_by_reading_the_history(lab: Lab) -> None:
    explain = "explain query plan" if lab.database.dialect_name == "sqlite" else "explain"
    query = f"{explain} select * from mainspring.job_executions where id = '{lab.world.new_id()}'"

    def plan_of(connection: sa.Connection) -> str:
        if lab.database.dialect_name == "postgresql":
            connection.execute(sa.text("set local enable_seqscan = off"))  # the tables of a test are small
        return "\n".join(str(line[-1]) for line in connection.execute(sa.text(query)).all())

    plan = await lab.database.tx(plan_of)
    assert not re.search(r"SCAN mainspring_executions|Seq Scan on executions", plan), plan
