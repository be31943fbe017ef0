"""Texts that mean harm, in every field that a user or a job can fill."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring import Cron, JobContext, Mainspring
from mainspring.control.queues import QueueCommands
from mainspring.control.schedules import ScheduleCommands
from mainspring.domain.access import Actor, ActorKind, Role
from mainspring.errors import ExecutionFailedError
from mainspring.security.audit import Audit
from mainspring.security.secret_key import Purpose, secret_key_in_force
from mainspring.store.identity import users
from mainspring.store.tables import definitions, nodes, services

if TYPE_CHECKING:
    from uuid import UUID

TEXT: Final = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'><svg onload=alert(3)>{{7*7}}"""
"""A text as somebody would write it who wants the dashboard to run it."""

URL: Final = "javascript:alert(4)"
JOB: Final = "evil"
_DISTRICT: Final = "partner-report"
_PATIENCE: Final = timedelta(seconds=20)


def declare(app: Mainspring) -> None:
    """Declare a job whose every text means harm."""

    @app.job(
        JOB,
        schedule=Cron("30 6 1 1 *"),
        display_name=TEXT,
        description=TEXT,
        group=TEXT,
        job_type=TEXT,
        on_demand=True,
        max_running=5,
    )
    async def _evil(ctx: JobContext[Any], payload: dict[str, Any]) -> dict[str, str]:
        ctx.step(1, of=2, label=TEXT)
        ctx.progress(50, of=100, message=TEXT)
        ctx.log(TEXT, field=TEXT)
        if payload.get("fails"):
            raise ValueError(TEXT)
        return {TEXT: TEXT}


async def act(app: Mainspring) -> tuple[UUID, UUID]:
    """Fill every field, and return the execution that succeeded and the one that failed."""
    await app.opened.database.tx(lambda connection: _write(connection, app))
    await _change_what_admins_may(app)
    succeeds = await app.enqueue(JOB, {"text": TEXT, TEXT: [TEXT]}, tags=[TEXT], user_id=TEXT)
    fails = await app.enqueue(JOB, {"fails": True}, max_retries=0, user_id=TEXT)
    for execution in (succeeds, fails):
        with suppress(ExecutionFailedError):
            await execution.wait(_PATIENCE)
    return succeeds.id, fails.id


async def _change_what_admins_may(app: Mainspring) -> None:
    opened, world, environment = app.opened, app.world, app.settings.environment
    audit = Audit(opened.database, world, secret_key_in_force(app.settings, world).derive(Purpose.AUDIT))
    admin = Actor(TEXT, ActorKind.USER, environment, permissions=Role.ADMIN.permissions, sees_organization=True)
    schedules = ScheduleCommands(
        database=opened.database, signals=opened.signals, world=world, environment=environment, audit=audit
    )
    await schedules.set_cron(admin, JOB, "45 6 1 1 *", reason=TEXT)
    await schedules.pause(admin, JOB, reason=TEXT)
    await QueueCommands(opened.database, audit, opened.signals, world).pause(admin, "evil", reason=TEXT)


def _write(connection: sa.Connection, app: Mainspring) -> None:
    """Write what no door lets in: should one let it in some day, the dashboard still shows it as text."""
    at, environment = app.world.now(), app.settings.environment
    connection.execute(
        sa.insert(services).values(
            environment=environment,
            name=TEXT,
            url=URL,
            status="unreachable",
            check_error=TEXT,
            last_error=TEXT,
            created_at=at,
            updated_at=at,
        )
    )
    connection.execute(
        sa.update(definitions).where(definitions.c.name == _DISTRICT).values(service_name=TEXT, service_url=URL)
    )
    connection.execute(
        sa.insert(nodes).values(
            id=app.world.new_id(),
            environment=environment,
            name=TEXT,
            host=TEXT,
            pid=1,
            roles=TEXT,
            version=TEXT,
            slots=1,
            started_at=at - timedelta(hours=1),
            last_heartbeat=at - timedelta(minutes=9),
            lease_until=at - timedelta(minutes=8),
            dead_at=at - timedelta(minutes=8),
        )
    )
    users.insert(
        connection, app.world.new_id(), TEXT, role=Role.VIEWER, organization_id=TEXT, password_hash="not a hash"
    )
