"""While everything is paused nothing fires, on any node; each instant says so, and nothing is made up for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import pytest

from mainspring.control.pauses import PauseCommands
from mainspring.control.schedules import PastInstantError
from mainspring.domain.access import Actor, ActorKind, Role, Scope
from mainspring.domain.execution import Status, Trigger
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import OnStartup
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.store.engine.signals import Signals
from mainspring.store.scheduling import firing, pauses
from tests.audited_things import audit_trail
from tests.store.audit_trail import KEY, ROOT
from tests.store.clockwork import MINUTELY

if TYPE_CHECKING:
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.clockwork import Clockwork

SKIPPED = ("skipped", "all_paused")
FIRED = ("fired", None)


@pytest.fixture
def commands(database: Database, world: RealWorld) -> PauseCommands:
    return PauseCommands(
        database=database,
        audit=Audit(database, world, KEY),
        signals=Signals(world),
        world=world,
        environment="test",
    )


async def test_nothing_fires_until_somebody_resumes_and_nothing_is_made_up_for(
    clockwork: Clockwork, commands: PauseCommands
) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire_all()
    await commands.pause_all(ROOT, reason="the disk is full")
    clockwork.clock.advance(120)
    assert (await clockwork.fire()).executions == 0
    await commands.resume_all(ROOT)
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire_all()
    assert await clockwork.told() == [FIRED, SKIPPED, SKIPPED, FIRED]


async def test_a_pause_that_nobody_saw_is_kept_for_those_who_come_later(
    clockwork: Clockwork, commands: PauseCommands
) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute()
    await commands.pause_all(ROOT)
    clockwork.clock.advance(60)
    await commands.resume_all(ROOT)
    await commands.pause_all(ROOT)
    clockwork.clock.advance(60)
    await commands.resume_all(ROOT)
    clockwork.clock.advance(60)
    await clockwork.fire_all()
    assert [outcome for outcome, _ in await clockwork.told()][1:] == ["skipped", "skipped", "fired"]


async def test_it_holds_on_every_node(clockwork: Clockwork, commands: PauseCommands) -> None:
    lab = clockwork.lab
    await clockwork.declare(MINUTELY, replace(MINUTELY, name="other"))
    await commands.pause_all(ROOT)
    for node_id in (lab.world.new_id(), lab.world.new_id()):
        await clockwork.go_to_minute(second=1.0)
        who = replace(lab.firing, node_id=node_id)
        fired = await lab.database.tx(lambda connection, who=who: firing.fire_due(connection, who, {}))
        assert (fired.executions, len(fired.ticks)) == (0, 2)


async def test_it_ends_by_itself(clockwork: Clockwork, commands: PauseCommands) -> None:
    await clockwork.declare(MINUTELY)
    minute = await clockwork.go_to_minute(second=1.0)
    await clockwork.fire_all()
    await commands.pause_all(ROOT, until=minute + timedelta(seconds=90))
    clockwork.clock.advance(60)
    await clockwork.fire_all()
    clockwork.clock.advance(60)
    await clockwork.fire_all()
    assert await clockwork.told() == [FIRED, SKIPPED, FIRED]
    environment = clockwork.lab.environment
    assert await clockwork.lab.database.read(lambda connection: pauses.in_force(connection, environment)) is None
    assert not await commands.resume_all(ROOT)


async def test_a_start_of_the_application_is_held_too(clockwork: Clockwork, commands: PauseCommands) -> None:
    await clockwork.declare(JobDefinition("at-start", schedule=OnStartup()))
    await commands.pause_all(ROOT)
    lab = clockwork.lab
    await lab.database.tx(lambda connection: firing.fire_startup(connection, lab.firing, ["at-start"]))
    assert await clockwork.told("at-start") == [SKIPPED]


async def test_another_environment_goes_on(clockwork: Clockwork, commands: PauseCommands) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.lab.database.tx(
        lambda connection: pauses.begin(connection, "elsewhere", until=None, by="ada", reason=None)
    )
    await clockwork.go_to_minute(second=1.0)
    await clockwork.fire_all()
    assert await clockwork.told() == [FIRED]


async def test_what_runs_goes_on_unless_it_is_to_be_stopped(clockwork: Clockwork, commands: PauseCommands) -> None:
    lab = clockwork.lab
    running = await lab.enqueue_one(job_name="nightly", trigger=Trigger.CRON)
    await lab.claim(names=("nightly",))
    waiting = await lab.enqueue_one(job_name="nightly", trigger=Trigger.INTERVAL)
    asked_for = await lab.enqueue_one(job_name="nightly", trigger=Trigger.API)
    assert await commands.pause_all(ROOT) == 0
    assert (await lab.get(waiting)).status is Status.QUEUED
    assert await commands.pause_all(ROOT, stop_runs=True) == 2
    assert (await lab.get(waiting)).status is Status.CANCELLED
    assert (await lab.get(asked_for)).status is Status.QUEUED
    stopping = await lab.get(running)
    assert (stopping.status, stopping.cancel_requested) == (Status.RUNNING, True)


async def test_each_change_is_written_and_refused_to_who_may_not(clockwork: Clockwork, commands: PauseCommands) -> None:
    until = await clockwork.now() + timedelta(days=1)
    with pytest.raises(PastInstantError):
        await commands.pause_all(ROOT, until=until - timedelta(days=2))
    for role, organization in ((Role.VIEWER, None), (Role.ADMIN, "acme")):
        actor = Actor("eve", ActorKind.USER, "test", organization, role.permissions, sees_organization=True)
        with pytest.raises(PermissionDeniedError):
            await commands.pause_all(actor)
    await commands.pause_all(ROOT, reason="incident 7")
    await commands.resume_all(ROOT)
    trail = await clockwork.lab.database.read(
        lambda connection: audit_trail(connection, Scope("test"), target_id="test")
    )
    written = [
        (entry.action, orjson.loads(entry.before or "0")["paused"], orjson.loads(entry.after or "0")["paused"])
        for entry, _mac in reversed(trail)
        if entry.allowed
    ]
    assert written == [("schedule.pause_all", False, True), ("schedule.resume_all", True, False)]
