"""The platform's own jobs: which they are, what is counted of their runs, and a run that is not to happen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mainspring.builtin.self_check_database import examine_database, examine_migrations
from mainspring.builtin.self_check_finding import Verdict
from mainspring.domain.access import Actor, ActorKind
from mainspring.domain.execution import Status
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron, Every
from mainspring.errors import IdempotencyConflictError
from mainspring.jobs.registry import JobRegistry
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import present_instant
from mainspring.store.jobs import platform_jobs, registration
from mainspring.store.jobs.platform_jobs import RunCounts
from mainspring.store.queue import history, idempotency, triggers
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock

SWEEP = JobDefinition("sweep", schedule=Every(hours=1))
ON_REQUEST = JobDefinition("on-request", enabled=False)


async def declare(lab: Lab, *definitions: JobDefinition, is_object: bool = True) -> None:
    registry = JobRegistry()
    for definition in definitions:
        registry.add(definition, lambda: None, is_object=is_object)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))


async def ended(lab: Lab, name: str, status: Status, **fields: object) -> UUID:
    """Make a run that has ended."""
    execution_id = await lab.enqueue_one(job_name=name)
    if status in {Status.SUCCEEDED, Status.FAILED}:
        await lab.finish(lab.end(await lab.claim_one(names=[name]), status, **fields))
    else:
        await lab.database.tx(
            lambda connection: history.end_live(connection, [execution_id], status=status, stages=history.NOT_STARTED)
        )
    return execution_id


async def recent(lab: Lab, *names: str, most: int = 25) -> list[Execution]:
    return await lab.database.read(
        lambda connection: platform_jobs.recent_runs(connection, lab.environment, names, most=most)
    )


async def test_they_are_those_registered_as_objects(lab: Lab) -> None:
    await declare(lab, SWEEP, ON_REQUEST)
    await declare(lab, JobDefinition("nightly", schedule=Cron("0 2 * * *")), is_object=False)
    found = await lab.database.read(lambda connection: platform_jobs.find(connection, lab.environment))
    assert [(job.name, platform_jobs.is_enabled(job)) for job in found] == [("on-request", False), ("sweep", True)]
    for name, there in (("sweep", True), ("nightly", False), ("nowhere", False)):
        job = await lab.database.read(
            lambda connection, name=name: platform_jobs.get(connection, lab.environment, name)
        )
        assert (job is not None) == there


async def test_runs_are_counted_once_they_have_ended_and_had_begun(lab: Lab) -> None:
    for status in (Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.SKIPPED):
        await ended(lab, "sweep", status)
    await lab.enqueue_one(job_name="sweep")
    await ended(lab, "other", Status.FAILED)
    counts = await lab.database.read(
        lambda connection: platform_jobs.run_counts(connection, lab.environment, ["sweep", "never"])
    )
    assert counts == {"sweep": RunCounts(succeeded=2, failed=1), "never": RunCounts()}
    assert counts["sweep"].total == 3


async def test_a_run_that_was_cancelled_at_work_has_failed(lab: Lab) -> None:
    await lab.enqueue_one(job_name="sweep")
    await lab.finish(lab.end(await lab.claim_one(names=["sweep"]), Status.CANCELLED))
    counts = await lab.database.read(
        lambda connection: platform_jobs.run_counts(connection, lab.environment, ["sweep"])
    )
    assert counts == {"sweep": RunCounts(failed=1)}


async def test_no_more_runs_are_counted_than_a_page_can_wait_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_jobs, "MOST_COUNTED", 2)
    for status in (Status.FAILED, Status.SUCCEEDED, Status.SUCCEEDED):
        await ended(lab, "sweep", status)
    counts = await lab.database.read(
        lambda connection: platform_jobs.run_counts(connection, lab.environment, ["sweep"])
    )
    assert counts == {"sweep": RunCounts(succeeded=2)}  # the latest ones


async def test_the_last_run_is_the_one_that_began_last_and_has_ended(lab: Lab) -> None:
    await ended(lab, "sweep", Status.FAILED)
    last = await ended(lab, "sweep", Status.SUCCEEDED)
    await ended(lab, "sweep", Status.SKIPPED)
    await lab.enqueue_one(job_name="sweep")
    found = await lab.database.read(lambda connection: platform_jobs.last_run(connection, lab.environment, "sweep"))
    assert found is not None
    assert found.id == last
    assert await lab.database.read(lambda connection: platform_jobs.last_run(connection, "other", "sweep")) is None


async def test_recent_runs_are_the_newest_of_all_states(lab: Lab) -> None:
    ids = [await ended(lab, "sweep", status) for status in (Status.SUCCEEDED, Status.SKIPPED, Status.FAILED)]
    ids.append(await lab.enqueue_one(job_name="on-request"))
    await ended(lab, "other", Status.FAILED)
    assert [run.id for run in await recent(lab, "sweep", "on-request")] == ids[::-1]
    assert [run.id for run in await recent(lab, "sweep", "on-request", most=2)] == [ids[3], ids[2]]
    assert [run.id for run in await recent(lab, "sweep")] == [ids[2], ids[1], ids[0]]
    assert await recent(lab) == []


async def test_the_last_details_are_those_of_the_last_run_that_has_any(lab: Lab) -> None:
    async def details() -> object:
        return await lab.database.read(
            lambda connection: platform_jobs.last_details(connection, lab.environment, "sweep")
        )

    assert await details() is None
    for number in (1, 2):
        await ended(lab, "sweep", Status.SUCCEEDED, result=json.dumps({"details": {"number": number}}))
    await ended(lab, "sweep", Status.FAILED, result=json.dumps("no object"))
    await ended(lab, "sweep", Status.FAILED)
    assert await details() == {"number": 2}


async def test_a_run_that_is_not_to_happen_is_kept_and_takes_nobodys_place(lab: Lab) -> None:
    await declare(lab, SWEEP)
    skipped, wanted = lab.world.new_id(), lab.world.new_id()
    await lab.database.tx(
        lambda connection: triggers.skip(
            connection, lab.environment, "sweep", skipped, code="JOB_DISABLED", reason="the job is off", user_id="ada"
        )
    )
    run = await lab.get(skipped)
    assert (run.status, run.message_code, run.skip_reason) == (Status.SKIPPED, "JOB_DISABLED", "the job is off")
    assert (run.user_id, run.attempt, run.started_at) == ("ada", 0, None)
    assert await lab.database.tx(
        lambda connection: triggers.trigger(connection, lab.environment, "sweep", wanted, user_id="ada")
    )
    assert (await lab.claim_one(names=["sweep"])).id == wanted


async def test_a_key_belongs_to_who_asks_and_to_what_is_asked(lab: Lab) -> None:
    ada, bob = (Actor(name, ActorKind.USER, lab.environment) for name in ("ada", "bob"))
    first, second = lab.world.new_id(), lab.world.new_id()

    async def claim(actor: Actor, key: str | None, request: list[object], execution_id: UUID) -> UUID | None:
        return await lab.database.tx(
            lambda connection: idempotency.claim_request(connection, actor, key, request, execution_id)
        )

    assert await claim(ada, None, ["sweep"], first) is None
    assert await claim(ada, "key", ["sweep", {"all": True}], first) is None
    assert await claim(ada, "key", ["sweep", {"all": True}], second) == first
    assert await claim(bob, "key", ["sweep", {"all": True}], second) is None
    with pytest.raises(IdempotencyConflictError):
        await claim(ada, "key", ["sweep", {"all": False}], second)


# ---- What the self-check asks the store ------------------------------------------------------------------------------


async def test_a_store_that_is_well_is_found_well(lab: Lab) -> None:
    await lab.register_node()
    findings = [*await examine_database(lab.database, RealWorld()), *await examine_migrations(lab.database)]
    assert {finding.verdict for finding in findings} == {Verdict.OK}
    checks = {finding.check for finding in findings}
    assert checks >= {"reachable", "clock", "writable", "node alive", "schema"}
    assert ("partitions" in checks) == (lab.database.dialect_name == "postgresql")


async def test_a_clock_that_is_off_is_told(lab: Lab, clock: StoreClock) -> None:
    for seconds in (60.0, -120.0):  # ahead of this host, and then behind it
        clock.advance(seconds)
        found = {finding.check: finding for finding in await examine_database(lab.database, RealWorld())}
        assert found["clock"].verdict is Verdict.WARNING
        assert 30 < float(found["clock"].detail.split()[-2]) <= 60


async def test_weeks_that_run_out_are_told_before_they_do(postgresql: Database, clock: StoreClock) -> None:
    weeks = await postgresql.read(partitions.weeks)
    now = await postgresql.read(present_instant)
    (_, found) = await examine_migrations(postgresql)
    assert (found.check, found.verdict) == ("partitions", Verdict.OK)
    present = max(week.start for week in weeks if week.start <= now)  # other tests may have left older ones
    ahead = (weeks[-1].start - present).total_seconds()
    for seconds, verdict in ((ahead - 7 * 86_400, Verdict.WARNING), (ahead + 7 * 86_400, Verdict.FAILED)):
        clock.shift = seconds
        (_, found) = await examine_migrations(postgresql)
        assert (found.verdict, "mainspring db upgrade" in found.detail) == (verdict, True)
