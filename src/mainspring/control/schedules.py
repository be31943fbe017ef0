"""Commands on schedules: code owns what runs, people own when; each change keeps what code says beside it.

Each goes the same way for an actor: permission, the change and its audit entry in one transaction. Nodes read schedules
anew in every turn, so that a change is in force on all of them at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.access import Actor, Permission
from mainspring.domain.interval import require_aware
from mainspring.domain.schedule import Cron
from mainspring.domain.write_door import clean_text
from mainspring.errors import DefinitionError, JobNotFoundError, MainspringError
from mainspring.security.audit import Audit, Target
from mainspring.store.engine.signals import WORK
from mainspring.store.scheduling import backfill, schedules
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.scheduling.backfill import Backfilled
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.world import World

MAX_REASON: Final = 1_000


class NoScheduleError(MainspringError):
    """The job runs only when it is asked for."""

    code = "NO_SCHEDULE"


class PastInstantError(DefinitionError):
    """What is to hold until an instant would not hold at all: the instant is past."""

    code = "PAST_INSTANT"


class VersionConflictError(MainspringError):
    """Somebody else has changed it since it was read."""

    code = "VERSION_CONFLICT"


class ScheduleCommands:
    """What people and programs do with schedules.

    Args:
        database: The store.
        signals: To wake workers for what a command fires.
        world: Ids and time.
        environment: The environment of this program.
        audit: Where the doings of actors are written; without it, only the application itself may act.
    """

    def __init__(
        self, *, database: Database, signals: Signals, world: World, environment: str, audit: Audit | None = None
    ) -> None:
        self._database = database
        self._signals = signals
        self._world = world
        self._environment = environment
        self._audit = audit or Audit(database, world)

    async def pause(
        self, actor: Actor, name: str, *, reason: str | None = None, until: datetime | None = None
    ) -> StoredSchedule:
        """Stop a schedule from firing; its instants are recorded as skipped.

        Args:
            actor: Who asks.
            name: The job.
            reason: Why, for those who find it paused.
            until: When it fires again by itself; None: when somebody resumes it.

        Returns:
            The schedule as it is since; so do `resume`, `enable`, `disable`, `set_cron` and `reset`.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            JobNotFoundError: No job is called so.
            NoScheduleError: It has no schedule.
            DefinitionError: `until` is past.

        Example:
            >>> await app.schedules.pause(actor, "weekly-digest", reason="the mail server moves")  # doctest: +SKIP
        """
        values = {
            "paused_at": self._world.now(),
            "paused_until": self._in_the_future("until", until),
            "paused_by": actor.subject,
            "paused_reason": _said(reason),
        }
        return await self._change(actor, "schedule.pause", name, values, reason=reason)

    async def resume(self, actor: Actor, name: str, *, reason: str | None = None) -> StoredSchedule:
        """Let a paused schedule fire again, from its next instant on.

        Args:
            actor: Who asks.
            name: The job.
            reason: Why, for the audit.

        Raises:
            PermissionDeniedError, JobNotFoundError, NoScheduleError: As for `pause`.
        """
        values = {"paused_at": None, "paused_until": None, "paused_by": None, "paused_reason": None}
        return await self._change(actor, "schedule.resume", name, values, reason=reason)

    async def enable(
        self, actor: Actor, name: str, *, reason: str | None = None, version: int | None = None
    ) -> StoredSchedule:
        """Let a schedule fire whatever code says, from its next instant on.

        Args:
            actor: Who asks.
            name: The job.
            reason: Why.
            version: The version that the actor has seen; None: whatever it is now.

        Raises:
            PermissionDeniedError, JobNotFoundError, NoScheduleError: As for `pause`.
            VersionConflictError: As for `set_cron`.
        """
        values = self._switched(actor, is_on=True, reason=reason)
        return await self._change(actor, "schedule.enable", name, values, reason=reason, version=version)

    async def disable(
        self,
        actor: Actor,
        name: str,
        *,
        reason: str | None = None,
        until: datetime | None = None,
        version: int | None = None,
    ) -> StoredSchedule:
        """Keep a schedule from firing whatever code says, until an instant or until somebody enables it.

        Args:
            actor: Who asks.
            name: The job.
            reason: Why, for those who find it disabled.
            until: When what code says counts again; None: when somebody enables it.
            version: The version that the actor has seen; None: whatever it is now.

        Raises:
            PermissionDeniedError, JobNotFoundError, NoScheduleError, DefinitionError: As for `pause`.
            VersionConflictError: As for `set_cron`.
        """
        values = self._switched(actor, is_on=False, reason=reason, until=until)
        return await self._change(actor, "schedule.disable", name, values, reason=reason, version=version)

    async def set_cron(
        self,
        actor: Actor,
        name: str,
        expression: str,
        *,
        timezone: str = "UTC",
        reason: str | None = None,
        expires_at: datetime | None = None,
        version: int | None = None,
    ) -> StoredSchedule:
        """Put an expression in the place of what code says; a deployment does not undo it.

        Args:
            actor: Who asks.
            name: The job.
            expression: A cron expression; see `Cron`.
            timezone: An IANA time zone.
            reason: Why.
            expires_at: When what code says is in force again; None: when `reset` is called.
            version: The version that the actor has seen; None: whatever it is now.

        Raises:
            PermissionDeniedError: The actor lacks `schedules.edit_schedules`.
            CronError: The expression cannot be read or can never fire; the old schedule goes on.
            VersionConflictError: Somebody else has changed the schedule meanwhile.
            JobNotFoundError, NoScheduleError, DefinitionError: As for `pause`.
        """
        cron = Cron(expression, timezone)
        values = {
            "override_expression": cron.expression,
            "override_timezone": cron.tz,
            "override_expires_at": self._in_the_future("expires_at", expires_at),
            **self._signed(actor, reason),
        }
        return await self._change(
            actor, "schedule.edit", name, values, reason=reason, permission=Permission.EDIT_SCHEDULES, version=version
        )

    async def reset(
        self, actor: Actor, name: str, *, reason: str | None = None, version: int | None = None
    ) -> StoredSchedule:
        """Take back all that was put in the place of the code's own words.

        Args:
            actor: Who asks.
            name: The job.
            reason: Why, for the audit.
            version: The version that the actor has seen; None: whatever it is now.

        Raises:
            PermissionDeniedError: The actor lacks `schedules.edit_schedules`.
            JobNotFoundError, NoScheduleError: As for `pause`.
            VersionConflictError: As for `set_cron`.
        """
        values = {
            "override_expression": None,
            "override_timezone": None,
            "override_expires_at": None,
            "override_enabled": None,
            "override_enabled_until": None,
            **self._signed(actor, reason),
        }
        return await self._change(
            actor, "schedule.reset", name, values, reason=reason, permission=Permission.EDIT_SCHEDULES, version=version
        )

    async def backfill(
        self,
        actor: Actor,
        name: str,
        *,
        start: datetime,
        end: datetime,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Backfilled:
        """Run a job for each past instant of its schedule in a span that has not fired.

        Args:
            actor: Who asks.
            name: The job.
            start: The first instant, included.
            end: The last instant, included; not in the future.
            reason: Why.
            dry_run: Only say what would be done.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            DefinitionError: The span is empty, in the future, or holds more than a thousand instants.
            JobNotFoundError, NoScheduleError: As for `pause`.
        """
        if require_aware(start) > require_aware(end) or end > self._world.now():
            raise DefinitionError(
                f"a backfill of {name!r} goes from one past instant to a later one, not from {start.isoformat()} to "
                f"{end.isoformat()}"
            )
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, "schedule.backfill", Target("job", name))

        def run(connection: Connection) -> Backfilled:
            done = backfill.run(connection, self._firing, name, start=start, end=end, dry_run=dry_run)
            if done is None:
                raise no_schedule(connection, self._environment, name)
            if not dry_run:
                facts = {"start": start, "end": end, "executions": len(done.instants)}
                self._audit.record(
                    connection, actor, "schedule.backfill", Target("job", name), after=facts, reason=reason
                )
            return done

        done = await self._database.tx(run)
        self._signals.send(WORK)
        return done

    def _switched(
        self, actor: Actor, *, is_on: bool, reason: str | None, until: datetime | None = None
    ) -> dict[str, Any]:
        return {
            "override_enabled": is_on,
            "override_enabled_until": self._in_the_future("until", until),
            **self._signed(actor, reason),
        }

    async def _change(
        self,
        actor: Actor,
        action: str,
        name: str,
        values: Mapping[str, Any],
        *,
        reason: str | None,
        permission: Permission = Permission.WRITE_ADMIN_SETTINGS,
        version: int | None = None,
    ) -> StoredSchedule:
        target = Target("job", name)
        await self._audit.require(actor, permission, action, target)

        def change(connection: Connection) -> StoredSchedule:
            changed = schedules.change(connection, self._firing, name, values)
            if changed is None:
                raise no_schedule(connection, self._environment, name)
            before, after = changed
            if version is not None and before.version != version:
                raise VersionConflictError(
                    f"the schedule of job {name!r} was changed meanwhile: you have seen version {version}, and it is "
                    f"{before.version} now; look at it again"
                )
            self._audit.record(
                connection, actor, action, target, before=_facts(before), after=_facts(after), reason=reason
            )
            return after

        after = await self._database.tx(change)
        self._signals.send(WORK)
        return after

    @property
    def _firing(self) -> Firing:
        return Firing.by(self._world, self._environment)

    def _signed(self, actor: Actor, reason: str | None) -> dict[str, Any]:
        return {"override_by": actor.subject, "override_reason": _said(reason), "override_at": self._world.now()}

    def _in_the_future(self, name: str, instant: datetime | None) -> datetime | None:
        if instant is not None and require_aware(instant) <= self._world.now():
            raise PastInstantError(f"{name} is {instant.isoformat()}, which is past: give an instant to come, or none")
        return instant


def no_schedule(connection: Connection, environment: str, name: str) -> MainspringError:
    """Return the error that says whether there is no such job, or only no schedule."""
    from mainspring.store.jobs import definitions

    if definitions.get(connection, environment, name) is None:
        return JobNotFoundError(f"no job is called {name!r} in the environment {environment!r}: `mainspring jobs list`")
    return NoScheduleError(
        f"job {name!r} has no schedule: it runs when it is asked for, `mainspring jobs trigger {name}`"
    )


def _said(reason: str | None) -> str | None:
    return None if reason is None else clean_text(reason, MAX_REASON)


def _facts(schedule: StoredSchedule) -> dict[str, Any]:
    return {
        "expression": schedule.text.expression,
        "timezone": schedule.text.timezone,
        "enabled": schedule.enabled,
        "pausedUntil": schedule.pause.until if schedule.pause is not None else None,
        "nextRunAt": schedule.next_run_at,
        "version": schedule.version,
    }
