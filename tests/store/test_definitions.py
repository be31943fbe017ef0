"""What code declares is kept, what admins changed survives it, and what is unchanged costs no write."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.job import JobDefinition, Overlap
from mainspring.domain.retry import Retry
from mainspring.domain.schedule import Cron, Every, OnStartup
from mainspring.domain.thresholds import Thresholds
from mainspring.errors import IntegrityError
from mainspring.jobs.registry import JobRegistry
from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs import definitions, registration, retirement
from mainspring.store.scheduling.firing import Firing
from mainspring.store.scheduling.stored_schedule import ScheduleText, schedule_of, text_of
from mainspring.store.tables import definitions as definitions_table
from mainspring.store.tables import schedules
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from mainspring.domain.schedule import Schedule
    from mainspring.store.engine.database import Database
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.jobs.registration import Registration
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from tests.store.conftest import StoreClock

SCHEDULE = Cron("0 2 * * *", tz="Europe/Rome")
NIGHTLY = JobDefinition("nightly", schedule=SCHEDULE)
ANCHOR = datetime(2027, 1, 1, 3, tzinfo=UTC)


async def register(
    database: Database,
    *declared: JobDefinition,
    environment: str = "test",
    version: str | None = None,
    application: str | None = None,
) -> Registration:
    registry = JobRegistry()
    for definition in declared:
        registry.add(definition, lambda: None)
    firing = Firing.by(RealWorld(), environment)
    return await database.tx(
        lambda connection: registration.register(connection, firing, registry, version, application=application)
    )


async def get(database: Database, name: str = "nightly", environment: str = "test") -> StoredDefinition:
    found = await database.read(lambda connection: definitions.get(connection, environment, name))
    assert found is not None
    return found


async def schedule_in(database: Database, name: str = "nightly") -> StoredSchedule:
    schedule = (await get(database, name)).schedule
    assert schedule is not None
    return schedule


async def change(database: Database, table: sa.Table, **values: object) -> None:
    await database.tx(lambda connection: connection.execute(sa.update(table).values(**values)))


async def now_of(database: Database) -> datetime:
    return await database.read(lambda connection: connection.execute(sa.select(store_now())).scalar_one())


async def test_a_definition_is_kept_with_all_that_code_says(database: Database) -> None:
    declared = replace(
        NIGHTLY,
        display_name="Nightly digest",
        description="Sends it.",
        group="email",
        job_type="mail",
        queue="slow",
        on_demand=True,
        retry=Retry(max_retries=5, base=timedelta(seconds=2)),
        timeout=timedelta(minutes=5),
        thresholds=Thresholds(staleness=timedelta(minutes=30)),
        overlap=Overlap.QUEUE,
        config={"limit": 10},
    )
    await register(database, declared, version="1.4.2")
    found = await get(database)
    assert (found.display_name, found.description, found.group) == ("Nightly digest", "Sends it.", "email")
    assert (found.job_type, found.queue, found.on_demand, found.is_object) == ("mail", "slow", True, False)
    assert (found.code["retry"]["max_retries"], found.code["retry"]["base"]) == (5, 2.0)
    assert (found.code["timeout"], found.code["thresholds"]["staleness"]) == (300.0, 1800.0)
    assert (found.code["overlap"], found.config) == ("queue", {"limit": 10})
    assert (found.code_version, found.version, found.retired_at) == ("1.4.2", 1, None)


async def test_a_definition_without_a_display_name_is_shown_by_its_name(database: Database) -> None:
    await register(database, JobDefinition("cleanup"))
    assert (await get(database, "cleanup")).display_name == "cleanup"


async def test_registering_twice_writes_nothing(database: Database) -> None:
    first = await register(database, NIGHTLY, JobDefinition("cleanup"), version="1")
    before = await get(database)
    again = await register(database, NIGHTLY, JobDefinition("cleanup"), version="1")
    assert first.added == ["cleanup", "nightly"]
    assert (again.added, again.changed, again.unchanged) == ([], [], ["cleanup", "nightly"])
    assert await get(database) == before


@pytest.mark.parametrize(
    "changed",
    [
        replace(NIGHTLY, description="Another one."),
        replace(NIGHTLY, timeout=timedelta(minutes=1)),
        replace(NIGHTLY, schedule=Cron("0 3 * * *", tz="Europe/Rome")),
        replace(NIGHTLY, schedule=Cron("0 2 * * *", tz="UTC")),
        replace(NIGHTLY, config={"limit": 1}),
        replace(NIGHTLY, enabled=False),
    ],
)
async def test_what_code_changes_is_changed(database: Database, changed: JobDefinition) -> None:
    await register(database, NIGHTLY, version="1")
    registration = await register(database, changed, version="2")
    assert registration.changed == ["nightly"]
    found = await get(database)
    assert (found.version, found.code_version) == (2, "2")
    assert found.description == changed.description
    assert found.schedule is not None
    assert found.schedule.schedule == changed.schedule
    assert found.schedule.code_enabled is changed.enabled


async def test_a_change_of_the_description_leaves_the_schedule_as_it_was(database: Database) -> None:
    await register(database, NIGHTLY)
    await change(database, schedules, next_run_at=ANCHOR)
    await register(database, replace(NIGHTLY, description="Another one."))
    assert (await schedule_in(database)).next_run_at == ANCHOR


async def test_a_changed_schedule_has_its_next_instant_computed_anew_and_keeps_its_watermark(
    database: Database,
) -> None:
    await register(database, NIGHTLY)
    assert (await schedule_in(database)).next_run_at == SCHEDULE.next_after(await now_of(database))
    await change(database, schedules, watermark=ANCHOR)
    await register(database, replace(NIGHTLY, schedule=Cron("0 3 * * *")))
    schedule = await schedule_in(database)
    assert (schedule.next_run_at, schedule.watermark) == (ANCHOR + timedelta(days=1), ANCHOR)


async def test_what_admins_changed_survives_a_deployment(database: Database) -> None:
    await register(database, NIGHTLY)
    now = await now_of(database)
    await change(database, definitions_table, override='{"timeout": 60}')
    await change(
        database,
        schedules,
        override_expression="0 5 * * *",
        override_at=now,
        override_by="anna",
        override_reason="quieter",
        paused_at=now,
        paused_by="ben",
    )
    await register(database, replace(NIGHTLY, schedule=Cron("0 3 * * *"), description="New."))
    found = await get(database)
    schedule = await schedule_in(database)
    assert found.override == {"timeout": 60}
    assert schedule.override is not None
    assert (schedule.override.by, schedule.override.reason) == ("anna", "quieter")
    assert schedule.text == ScheduleText("cron", "0 5 * * *", "UTC")
    assert schedule.code.expression == "0 3 * * *"
    assert schedule.pause is not None
    assert (schedule.pause.by, schedule.enabled) == ("ben", False)


async def test_an_override_holds_until_it_expires(database: Database, clock: StoreClock) -> None:
    await register(database, NIGHTLY)
    now = await now_of(database)
    await change(
        database,
        schedules,
        override_enabled=False,
        override_expression="0 5 * * *",
        override_timezone="Asia/Tokyo",
        override_at=now,
        override_expires_at=now + timedelta(hours=1),
        override_enabled_until=now + timedelta(hours=1),
    )
    schedule = await schedule_in(database)
    assert (schedule.enabled, schedule.schedule) == (False, Cron("0 5 * * *", tz="Asia/Tokyo"))
    clock.advance(3601)
    schedule = await schedule_in(database)
    assert (schedule.enabled, schedule.schedule, schedule.override) == (True, NIGHTLY.schedule, None)


async def test_a_pause_holds_until_its_end(database: Database, clock: StoreClock) -> None:
    await register(database, NIGHTLY)
    now = await now_of(database)
    await change(database, schedules, paused_at=now, paused_until=now + timedelta(hours=1))
    assert not (await schedule_in(database)).enabled
    clock.advance(3601)
    assert (await schedule_in(database)).enabled


async def test_a_job_that_is_gone_from_code_is_retired_with_its_schedule(database: Database) -> None:
    await register(database, NIGHTLY, JobDefinition("cleanup"))
    await change(database, schedules, next_run_at=ANCHOR)
    assert await database.tx(lambda connection: retirement.retire_others(connection, "test", None, ["cleanup"])) == [
        "nightly"
    ]
    assert (await get(database)).retired_at is not None
    schedule = await schedule_in(database)
    assert (schedule.enabled, schedule.next_run_at) == (False, None)
    assert schedule.retired_at is not None
    listed = await database.read(lambda connection: definitions.find(connection, "test"))
    assert [found.name for found in listed] == ["cleanup"]
    everything = await database.read(lambda connection: definitions.find(connection, "test", retired=True))
    assert [found.name for found in everything] == ["cleanup", "nightly"]


async def test_a_job_that_comes_back_finds_its_override_and_its_watermark(database: Database) -> None:
    await register(database, NIGHTLY)
    await change(database, schedules, watermark=ANCHOR, override_enabled=False, override_at=await now_of(database))
    await database.tx(lambda connection: retirement.retire_others(connection, "test", None, []))
    assert (await register(database, NIGHTLY)).changed == ["nightly"]
    schedule = await schedule_in(database)
    assert ((await get(database)).retired_at, schedule.retired_at) == (None, None)
    assert (schedule.watermark, schedule.enabled) == (ANCHOR, False)


async def test_an_application_retires_what_it_declares_no_more_and_nothing_of_others(database: Database) -> None:
    await register(database, JobDefinition("other"), application="other:app")
    await register(database, JobDefinition("nameless"))
    await register(database, NIGHTLY, JobDefinition("cleanup"), application="shop:app")
    again = await register(database, JobDefinition("cleanup"), application="shop:app")
    assert (again.retired, again.unchanged) == (["nightly"], ["cleanup"])
    listed = await database.read(lambda connection: definitions.find(connection, "test"))
    assert [found.name for found in listed] == ["cleanup", "nameless", "other"]
    assert (await register(database, NIGHTLY, JobDefinition("cleanup"), application="shop:app")).changed == ["nightly"]


async def test_an_older_build_of_an_application_undoes_nothing_of_a_newer_one(database: Database) -> None:
    older = (replace(NIGHTLY, description="Old."), JobDefinition("dropped"))
    newer = (replace(NIGHTLY, description="New."), JobDefinition("added"))
    await register(database, *older, version="1.9.0", application="shop:app")
    retired = await register(database, *newer, version="1.10.0", application="shop:app")
    assert retired.retired == ["dropped"]
    await change(database, schedules, override_expression="0 5 * * *", override_timezone="UTC")
    for _ in range(3):
        late = await register(database, *older, version="1.9.0", application="shop:app")
        assert (late.superseded, late.changed, late.retired) == (["dropped", "nightly"], [], [])
        assert (await register(database, *newer, version="1.10.0", application="shop:app")).changed == []
    assert (await get(database)).description == "New."
    assert (await get(database, "dropped")).retired_at is not None
    assert (await schedule_in(database)).text.expression == "0 5 * * *"


async def test_a_newer_build_that_says_the_same_keeps_an_older_one_out(database: Database) -> None:
    for version in ("1", "3"):
        await register(database, NIGHTLY, version=version)
    assert (await get(database)).version == 1
    late = await register(database, replace(NIGHTLY, description="Another."), version="2")
    assert late.superseded == ["nightly"]


async def test_builds_that_start_at_once_leave_the_newest_one(database: Database) -> None:
    # Several at once, so that the builds find as many open connections.
    await asyncio.gather(*(register(database, NIGHTLY, version="0") for _ in range(4)))
    builds = ("30", "9", "11", "5")
    await asyncio.gather(*(register(database, replace(NIGHTLY, description=build), version=build) for build in builds))
    assert (await get(database)).description == "30"


async def test_jobs_of_services_and_of_other_environments_are_not_retired(database: Database) -> None:
    await register(database, JobDefinition("remote"))
    await change(database, definitions_table, service_name="mail-service")
    await register(database, NIGHTLY, environment="staging")
    assert await database.tx(lambda connection: retirement.retire_others(connection, "test", None, [])) == []
    assert (await get(database, environment="staging")).retired_at is None


async def test_a_schedule_that_is_gone_from_code_is_retired_and_comes_back(database: Database) -> None:
    await register(database, NIGHTLY)
    await change(database, schedules, next_run_at=ANCHOR, watermark=ANCHOR)
    await register(database, replace(NIGHTLY, schedule=None))
    schedule = await schedule_in(database)
    assert (schedule.enabled, schedule.next_run_at) == (False, None)
    assert (await get(database)).retired_at is None
    await register(database, NIGHTLY)
    schedule = await schedule_in(database)
    assert (schedule.enabled, schedule.watermark) == (True, ANCHOR)


async def test_a_job_that_only_runs_at_start_up_has_a_schedule_too(database: Database) -> None:
    await register(database, JobDefinition("nightly", run_on_startup=True))
    schedule = await schedule_in(database)
    assert (schedule.text.kind, schedule.schedule, schedule.next_run_at) == ("startup", OnStartup(), None)


async def test_a_job_without_a_schedule_has_none(database: Database) -> None:
    await register(database, JobDefinition("cleanup"))
    assert (await get(database, "cleanup")).schedule is None


async def test_an_environment_sees_its_own_definitions(database: Database) -> None:
    await register(database, NIGHTLY)
    assert await database.read(lambda connection: definitions.find(connection, "staging")) == []
    assert await database.read(lambda connection: definitions.get(connection, "staging", "nightly")) is None


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Cron("0 9 * * MON", tz="Europe/Paris"), ScheduleText("cron", "0 9 * * MON", "Europe/Paris")),
        (Every(minutes=5), ScheduleText("interval", "@every 300s", "UTC")),
        (Every(milliseconds=250), ScheduleText("interval", "@every 250ms", "UTC")),
        (
            Every(hours=6, anchor=ANCHOR),
            ScheduleText("interval", "@every 21600s from 2027-01-01T03:00:00+00:00", "UTC"),
        ),
        (OnStartup(), ScheduleText("startup", "@reboot", "UTC")),
    ],
)
def test_a_schedule_is_kept_as_text_and_read_again(schedule: Schedule, text: ScheduleText) -> None:
    assert text_of(schedule) == text
    assert schedule_of(text) == schedule


def test_an_interval_that_nobody_wrote_is_refused() -> None:
    with pytest.raises(IntegrityError, match="every now and then"):
        schedule_of(ScheduleText("interval", "every now and then", "UTC"))
