"""The incident switch: nothing that a schedule starts, on any node, until an instant or until somebody resumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.control.schedules import MAX_REASON, PastInstantError, VersionConflictError
from mainspring.domain.access import Permission
from mainspring.domain.interval import require_aware
from mainspring.domain.write_door import clean_text
from mainspring.security.audit import Target
from mainspring.store.engine.signals import WORK
from mainspring.store.scheduling import pauses

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.engine.signals import Signals
    from mainspring.store.scheduling.pauses import PauseOfAll
    from mainspring.world import World

_PAUSE: Final = "schedule.pause_all"
_RESUME: Final = "schedule.resume_all"
_STOP: Final = "schedule.stop_runs"


class PauseCommands:
    """Pauses all schedules of an environment at once, and resumes them.

    Args:
        database: The open store.
        audit: Permissions and the audit.
        signals: To wake nodes.
        world: The present instant.
        environment: Whose schedules.
    """

    def __init__(self, *, database: Database, audit: Audit, signals: Signals, world: World, environment: str) -> None:
        self._database = database
        self._audit = audit
        self._signals = signals
        self._world = world
        self._environment = environment

    async def pause_all(
        self,
        actor: Actor,
        *,
        reason: str | None = None,
        until: datetime | None = None,
        stop_runs: bool = False,
        unless_paused: bool = False,
    ) -> int:
        """Let no schedule fire; the ticks of that time are recorded as skipped, and nothing is made up for afterwards.

        What is queued and running goes on, unless `stop_runs` says otherwise; runs that people ask for are not held.

        Args:
            actor: Who asks: platform staff.
            reason: Why, for those who find everything paused.
            until: When schedules fire again by themselves; None: when somebody resumes them.
            stop_runs: Whether the executions that schedules have started are cancelled too.
            unless_paused: Whether a pause that is in force is left as it is.

        Returns:
            How many executions were cancelled, or asked to stop.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`, or belongs to an organization.
            PastInstantError: `until` is past.
            VersionConflictError: Everything is paused already, and that is to be left as it is.
        """
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, _PAUSE, self._target)
        if until is not None and require_aware(until) <= self._world.now():
            raise PastInstantError(f"everything cannot be paused until {until.isoformat()}: that is past")
        said = None if reason is None else clean_text(reason, MAX_REASON)

        def pause(connection: Connection) -> None:
            before = pauses.in_force(connection, self._environment)
            if before is not None and unless_paused:
                raise VersionConflictError(f"{before.by} has paused everything since; nothing was changed")
            pauses.begin(connection, self._environment, until=until, by=actor.subject, reason=said)
            after = {"paused": True, "until": until, "stopRuns": stop_runs}
            self._audit.record(connection, actor, _PAUSE, self._target, before=_facts(before), after=after, reason=said)

        await self._database.tx(pause)
        stopped = await self._stop_runs(actor, said) if stop_runs else 0
        self._signals.send(WORK)
        return stopped

    async def resume_all(self, actor: Actor, *, reason: str | None = None, only: PauseOfAll | None = None) -> bool:
        """Let schedules fire again, each from its next instant on.

        Args:
            actor: Who asks: platform staff.
            reason: Why.
            only: The pause that is to end; None: whichever is in force.

        Returns:
            Whether everything was paused.

        Raises:
            PermissionDeniedError: As for `pause_all`.
            VersionConflictError: Another pause than that one is in force.
        """
        await self._audit.require_staff(actor, Permission.WRITE_ADMIN_SETTINGS, _RESUME, self._target)
        said = None if reason is None else clean_text(reason, MAX_REASON)

        def resume(connection: Connection) -> bool:
            before = pauses.in_force(connection, self._environment)
            if only is not None and before not in {only, None}:
                raise VersionConflictError("somebody has changed the pause since; it is left as it is")
            if not pauses.end(connection, self._environment, by=actor.subject):
                return False
            self._audit.record(
                connection, actor, _RESUME, self._target, before=_facts(before), after=_facts(None), reason=said
            )
            return True

        was_paused = await self._database.tx(resume)
        self._signals.send(WORK)
        return was_paused

    async def _stop_runs(self, actor: Actor, reason: str | None) -> int:
        def stop(connection: Connection) -> int:
            stopped = pauses.stop_runs(connection, self._environment)
            if stopped:
                self._audit.record(connection, actor, _STOP, self._target, after={"executions": stopped}, reason=reason)
            return stopped

        total = stopped = await self._database.tx(stop)
        while stopped == pauses.AT_ONCE:
            stopped = await self._database.tx(stop)
            total += stopped
        return total

    @property
    def _target(self) -> Target:
        return Target("environment", self._environment)


def _facts(pause: PauseOfAll | None) -> dict[str, Any]:
    return {"paused": pause is not None, "until": None if pause is None else pause.ends_at}
