"""Commands on schedules: who may give them, what they leave in the audit, and two people at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring import Cron, CronError, Mainspring
from mainspring.control.schedules import NoScheduleError, ScheduleCommands, VersionConflictError
from mainspring.domain.access import Actor, ActorKind, Role
from mainspring.errors import DefinitionError, JobNotFoundError, PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.store.jobs import registration
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import audit_entries
from mainspring.testing.manual_clock import Clock, ManualWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START = datetime(2027, 3, 1, tzinfo=UTC)
ADA = Actor("ada", ActorKind.USER, "dev", permissions=Role.ADMIN.permissions)
OTTO = Actor("otto", ActorKind.USER, "dev", permissions=Role.OPERATOR.permissions)
VERA = Actor("vera", ActorKind.USER, "dev", permissions=Role.VIEWER.permissions)


@pytest.fixture
async def app() -> AsyncIterator[Mainspring]:
    app = Mainspring(world=ManualWorld(Clock(START)), database_url="sqlite://")

    @app.job("nightly", schedule=Cron("0 2 * * *"))
    async def nightly() -> None: ...

    @app.job("by-hand")
    async def by_hand() -> None: ...

    async with app.connected():
        firing = Firing.by(app.world, app.settings.environment)
        await app.opened.database.tx(lambda connection: registration.register(connection, firing, app.registry))
        yield app


@pytest.fixture
def commands(app: Mainspring) -> ScheduleCommands:
    opened = app.opened
    return ScheduleCommands(
        database=opened.database,
        signals=opened.signals,
        world=app.world,
        environment="dev",
        audit=Audit(opened.database, app.world, b"a key of thirty-two bytes at least"),
    )


async def audited(app: Mainspring) -> list[Any]:
    statement = sa.select(audit_entries).order_by(audit_entries.c.id)
    return await app.opened.database.read(lambda connection: list(connection.execute(statement)))


async def test_an_edit_is_in_the_audit_with_old_new_and_reason(app: Mainspring, commands: ScheduleCommands) -> None:
    schedule = await commands.set_cron(ADA, "nightly", "0 3 * * *", timezone="Europe/Rome", reason="quieter then")
    assert schedule.override is not None
    assert (schedule.override.by, schedule.override.reason, schedule.version) == ("ada", "quieter then", 2)
    assert schedule.next_run_at == datetime(2027, 3, 1, 2, tzinfo=UTC)
    (entry,) = await audited(app)
    assert (entry.actor, entry.action, entry.target_id, entry.reason) == (
        "ada",
        "schedule.edit",
        "nightly",
        "quieter then",
    )
    assert '"expression":"0 2 * * *"' in entry.before
    assert '"expression":"0 3 * * *"' in entry.after


async def test_an_operator_may_stop_a_schedule_and_not_edit_it_and_a_viewer_neither(
    app: Mainspring, commands: ScheduleCommands
) -> None:
    assert not (await commands.disable(OTTO, "nightly", reason="floods")).enabled
    assert (await commands.enable(OTTO, "nightly")).enabled
    for denied in (
        commands.set_cron(OTTO, "nightly", "0 3 * * *"),
        commands.reset(OTTO, "nightly"),
        commands.pause(VERA, "nightly"),
        commands.backfill(VERA, "nightly", start=START - timedelta(days=1), end=START),
    ):
        with pytest.raises(PermissionDeniedError):
            await denied
    assert [entry.allowed for entry in await audited(app)] == [True, True, False, False, False, False]


async def test_who_has_seen_an_older_version_changes_nothing(commands: ScheduleCommands) -> None:
    seen = await commands.set_cron(ADA, "nightly", "0 3 * * *")
    await commands.set_cron(ADA, "nightly", "0 4 * * *", version=seen.version)
    with pytest.raises(VersionConflictError, match="version 2, and it is 3 now"):
        await commands.set_cron(ADA, "nightly", "0 5 * * *", version=seen.version)
    assert (await commands.resume(ADA, "nightly")).text.expression == "0 4 * * *"


async def test_what_cannot_fire_is_refused_and_the_old_schedule_goes_on(commands: ScheduleCommands) -> None:
    for expression in ("61 * * * *", "0 0 30 2 *", "every monday"):
        with pytest.raises(CronError):
            await commands.set_cron(ADA, "nightly", expression)
    assert (await commands.resume(ADA, "nightly")).text.expression == "0 2 * * *"


async def test_a_disable_with_an_end_leaves_an_edit_in_force(commands: ScheduleCommands) -> None:
    await commands.set_cron(ADA, "nightly", "0 3 * * *")
    until = START + timedelta(days=1, hours=12)
    disabled = await commands.disable(ADA, "nightly", until=until)
    assert (disabled.enabled, disabled.text.expression) == (False, "0 3 * * *")
    assert disabled.next_run_at == datetime(2027, 3, 3, 3, tzinfo=UTC)


async def test_what_does_not_exist_or_lies_in_the_past_is_told(commands: ScheduleCommands) -> None:
    with pytest.raises(JobNotFoundError):
        await commands.pause(ADA, "nobody")
    with pytest.raises(NoScheduleError):
        await commands.pause(ADA, "by-hand")
    with pytest.raises(DefinitionError, match="past"):
        await commands.pause(ADA, "nightly", until=START)
    with pytest.raises(DefinitionError, match="past instant"):
        await commands.backfill(ADA, "nightly", start=START, end=START + timedelta(days=1))


async def test_a_backfill_of_too_many_instants_is_refused(app: Mainspring, commands: ScheduleCommands) -> None:
    await commands.set_cron(ADA, "nightly", "* * * * *")
    with pytest.raises(DefinitionError, match="1,000"):
        await commands.backfill(ADA, "nightly", start=START - timedelta(days=1), end=START)
    done = await commands.backfill(ADA, "nightly", start=START - timedelta(minutes=2), end=START)
    assert len(done.instants) == 3
    assert len(await audited(app)) == 2
