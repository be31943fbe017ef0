"""Maintenance windows: times in which alerts are watched and not told, and their end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.alerts.maintenance import summarize
from mainspring.control.schedules import PastInstantError
from mainspring.control.telling_commands import TellingCommands
from mainspring.domain.access import Permission
from mainspring.domain.instants import instant_text
from mainspring.domain.silence import Coverage, Silence, SilenceKind
from mainspring.domain.write_door import clean_text
from mainspring.errors import DefinitionError, MainspringError
from mainspring.security.audit import Target
from mainspring.store.alerting import alerts, notifications, silences
from mainspring.store.engine.dialect import present_instant

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.store.engine.database import Connection

_MAX_REASON: Final = 1_000
_MAX_TARGET: Final = 500
_LONGEST: Final = timedelta(days=366)


class SilenceNotFoundError(MainspringError):
    """There is no maintenance window and no mute of that id that goes on."""

    code = "SILENCE_NOT_FOUND"


class UnfitWindowError(DefinitionError):
    """A maintenance window that could cover nothing."""

    code = "UNFIT_WINDOW"


class MaintenanceCommands(TellingCommands):
    """Commands on maintenance windows and mutes."""

    async def plan(
        self,
        actor: Actor,
        covers: Coverage,
        target: str | None,
        *,
        ends_at: datetime,
        starts_at: datetime | None = None,
        reason: str | None = None,
    ) -> Silence:
        """Plan a maintenance window.

        Args:
            actor: Who plans it.
            covers: All, a group, or a job.
            target: Which group or job; None for all.
            ends_at: When it ends by itself, at most a year from now.
            starts_at: When it begins; None: at once.
            reason: What is done in it.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            UnfitWindowError: It ends before it begins or is longer than a year, or `target` does not fit `covers`.
            PastInstantError: It would be over already.
        """
        action, silence_id = "maintenance.plan", self._telling.world.new_id()
        await self._audit.require(
            actor, Permission.WRITE_ADMIN_SETTINGS, action, Target("maintenance", str(silence_id))
        )
        if (target is None) != (covers is Coverage.ALL):
            raise UnfitWindowError(f"a window that covers {covers} needs {'no' if target else 'a'} target")

        def change(connection: Connection) -> Silence:
            now = present_instant(connection)
            begins = starts_at or now
            if ends_at <= now:
                raise PastInstantError(f"endsAt is {instant_text(ends_at)}, which is past: give a later instant")
            if not begins < ends_at <= begins + _LONGEST:
                raise UnfitWindowError("a window ends after it begins, and within a year")
            silences.add(
                connection,
                actor.environment,
                silence_id,
                kind=SilenceKind.MAINTENANCE,
                covers=covers,
                target=None if target is None else clean_text(target, _MAX_TARGET),
                starts_at=starts_at,
                ends_at=ends_at,
                reason=None if reason is None else clean_text(reason, _MAX_REASON),
                created_by=actor.subject,
            )
            planned = self._require(connection, actor, silence_id)
            target_of_audit = Target("maintenance", str(silence_id))
            self._audit.record(connection, actor, action, target_of_audit, after=_audited(planned), reason=reason)
            return planned

        planned = await self._database.tx(change)
        self._signals.send(alerts.ALERTS)
        return planned

    async def end(self, actor: Actor, silence_id: UUID, *, reason: str | None = None) -> Silence:
        """End a maintenance window or a mute now; what a window held back is summed up.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            SilenceNotFoundError: There is none of that id that goes on.
        """
        action, target = "maintenance.end", Target("maintenance", str(silence_id))
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)

        def change(connection: Connection) -> Silence:
            before = self._require(connection, actor, silence_id)
            if not silences.close(connection, actor.environment, silence_id):
                raise SilenceNotFoundError(f"{silence_id} is over already")
            now = present_instant(connection)
            if before.starts_at <= now:
                summarize(connection, before, self._telling, now)
            after = self._require(connection, actor, silence_id)
            self._audit.record(
                connection, actor, action, target, before=_audited(before), after=_audited(after), reason=reason
            )
            return after

        ended = await self._database.tx(change)
        self._signals.send(alerts.ALERTS)
        self._signals.send(notifications.NOTIFICATIONS)
        return ended

    @staticmethod
    def _require(connection: Connection, actor: Actor, silence_id: UUID) -> Silence:
        silence = silences.get(connection, actor.scope, silence_id)
        if silence is None:
            raise SilenceNotFoundError(
                f"there is no maintenance window {silence_id}: `GET /admin/maintenance` lists them"
            )
        return silence


def _audited(silence: Silence) -> dict[str, Any]:
    return {
        "kind": silence.kind.value,
        "covers": silence.covers.value,
        "target": silence.target,
        "startsAt": instant_text(silence.starts_at),
        "endsAt": instant_text(silence.ends_at),
        "closedAt": instant_text(silence.closed_at),
    }
