"""Registration by services, on both databases: who comes at once, who comes late, and what stays whatever comes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from mainspring.control.schedules import ScheduleCommands
from mainspring.control.service_jobs import ServiceCommands, ServiceJob
from mainspring.domain.access import Actor, ActorKind, Credential, CredentialKind, Role
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron
from mainspring.egress.addresses import AllowList
from mainspring.jobs.registry import JobRegistry
from mainspring.security.audit import Audit
from mainspring.security.payload_cipher import PayloadCipher
from mainspring.settings import Settings
from mainspring.store.engine.signals import Signals
from mainspring.store.jobs import definition_pages, definitions, registration, retirement
from mainspring.store.jobs.definition_pages import WantedJobs
from mainspring.store.remote import service_jobs, services
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from mainspring.control.service_jobs import Outcome
    from mainspring.store.engine.database import Database
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.remote.services import Service
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock

URL = "https://mail.example"
NAME = "mail.digest"
ROOT = Actor.at_terminal("test", "root")


class MailService:
    """A service with a key for names that begin with `mail.`, and what it says."""

    def __init__(self, database: Database, world: RealWorld) -> None:
        self.database = database
        self.world = world
        self.key_id = world.new_id()
        credential = Credential(CredentialKind.KEY, str(self.key_id), world.now())
        self.actor = Actor(
            "mail",
            ActorKind.SERVICE,
            "test",
            permissions=Role.SERVICE.permissions,
            name_prefix="mail.",
            credential=credential,
        )
        self.audit = Audit(database, world, b"k" * 32)
        self.commands = ServiceCommands(
            database=database,
            signals=Signals(world),
            world=world,
            environment="test",
            audit=self.audit,
            registry=JobRegistry(),
            cipher=PayloadCipher.of(Settings(secret_key=SecretStr("s" * 32)), world),
            may_reach=AllowList.read(()),
        )

    @property
    def schedules(self) -> ScheduleCommands:
        """What admins do with its schedules."""
        signals = Signals(self.world)
        return ScheduleCommands(
            database=self.database, signals=signals, world=self.world, environment="test", audit=self.audit
        )

    async def register(
        self, version: str | None = None, *, name: str = NAME, cron: str = "0 9 * * *", url: str = URL
    ) -> Outcome:
        definition = JobDefinition(name, schedule=Cron(cron), enabled=False)
        return await self.commands.register(self.actor, None, ServiceJob(definition, url, version))

    async def job(self, name: str = NAME) -> StoredDefinition:
        found = await self.database.read(lambda connection: definitions.get(connection, "test", name))
        assert found is not None
        return found

    async def service(self) -> Service:
        found = await self.database.read(lambda connection: services.get(connection, "test", "mail"))
        assert found is not None
        return found


@pytest.fixture
def mail(database: Database, world: RealWorld) -> MailService:
    """A service."""
    return MailService(database, world)


async def test_a_job_of_a_service_is_kept_with_its_address_and_its_key(mail: MailService) -> None:
    assert await mail.register("1.4.2") == "created"
    job, service = await mail.job(), await mail.service()
    assert (job.service_name, job.service_url, job.code_version) == ("mail", URL, "1.4.2")
    assert job.declared_at is not None
    assert (service.url, service.key_id, service.status) == (URL, mail.key_id, "unknown")
    assert service.registered_at is not None


async def test_builds_that_register_at_once_leave_the_newest_one_and_every_override(mail: MailService) -> None:
    await mail.register("1")
    await mail.schedules.set_cron(ROOT, NAME, "0 12 * * *", reason="noon")
    outcomes = await asyncio.gather(
        *(mail.register(str(version), cron=f"{version} 9 * * *") for version in (3, 20, 7, 1, 20, 11, 5, 2))
    )
    job = await mail.job()
    assert job.code_version == "20"
    assert job.schedule is not None
    assert (job.schedule.code.expression, job.schedule.text.expression) == ("20 9 * * *", "0 12 * * *")
    assert outcomes.count("updated") + outcomes.count("superseded") + outcomes.count("unchanged") == 8
    assert outcomes[1] != "superseded"


async def test_a_new_job_that_is_registered_many_times_at_once_is_created_once(mail: MailService) -> None:
    outcomes = await asyncio.gather(*(mail.register() for _ in range(6)))
    assert sorted(outcomes) == ["created", *["unchanged"] * 5]


async def test_a_service_that_has_moved_is_called_where_it_is_now_and_checked_at_once(mail: MailService) -> None:
    await mail.register()
    assert await mail.register(url="https://mail-2.example") == "updated"
    assert ((await mail.job()).service_url, (await mail.service()).url) == ("https://mail-2.example",) * 2


async def test_jobs_of_a_service_are_not_dropped_by_the_application_nor_by_another_service(mail: MailService) -> None:
    await mail.register()
    await mail.database.tx(lambda connection: retirement.retire_others(connection, "test", None, []))
    await mail.database.tx(lambda connection: service_jobs.drop_others(connection, "test", "billing", []))
    await mail.database.tx(lambda connection: service_jobs.drop_others(connection, "production", "mail", []))
    assert (await mail.job()).retired_at is None


async def test_a_dropped_job_stops_and_comes_back_with_its_watermark(mail: MailService) -> None:
    await mail.register()
    watermark = _schedule_of(await mail.job()).watermark
    listed = await mail.commands.keep_only(mail.actor, "mail", [])
    dropped = await mail.job()
    assert (listed.orphaned, dropped.orphaned_reason) == ([NAME], "undeclared")
    assert dropped.retired_at is not None
    assert _schedule_of(dropped).retired_at is not None
    assert await mail.register() == "updated"
    back = await mail.job()
    assert (back.retired_at, back.orphaned_at, back.orphaned_reason) == (None, None, None)
    assert _schedule_of(back).retired_at is None
    assert (_schedule_of(back).watermark or mail.world.now()) >= (watermark or mail.world.now())


async def test_code_of_the_application_takes_its_job_back(mail: MailService) -> None:
    await mail.register("1")
    registry = JobRegistry()
    registry.add(JobDefinition(NAME, schedule=Cron("0 9 * * *")), lambda: None)
    firing = Firing.by(mail.world, "test")
    await mail.database.tx(lambda connection: registration.register(connection, firing, registry, "2"))
    job = await mail.job()
    assert (job.service_name, job.service_url, job.code_version) == (None, None, "2")


def _schedule_of(job: StoredDefinition) -> StoredSchedule:
    assert job.schedule is not None
    return job.schedule


async def test_the_list_shows_dropped_jobs_and_finds_overrides_that_have_stood_long(
    mail: MailService, clock: StoreClock
) -> None:
    async def names(**wanted: Any) -> list[str]:
        found, total = await mail.database.read(
            lambda connection: definition_pages.page(connection, "test", WantedJobs(**wanted), skip=0, size=10)
        )
        assert len(found) == total
        return [job.name for job in found]

    for name in ("mail.digest", "mail.recap"):
        await mail.register(name=name)
    await mail.commands.keep_only(mail.actor, "mail", ["mail.digest"])
    assert await names() == ["mail.digest", "mail.recap"]
    in_an_hour = mail.world.now() + timedelta(hours=1)
    await mail.schedules.set_cron(ROOT, "mail.digest", "0 12 * * *", expires_at=in_an_hour)
    assert await names(overridden_before=in_an_hour) == ["mail.digest"]
    assert await names(overridden_before=mail.world.now() - timedelta(days=1)) == []
    clock.advance(3601)
    assert await names(overridden_before=in_an_hour) == []
    await mail.schedules.disable(ROOT, "mail.digest")
    assert await names(overridden_before=in_an_hour) == ["mail.digest"]
