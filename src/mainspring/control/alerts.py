"""What people do with alerts: look after them, put them off, end them, and stop hearing of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mainspring.alerts import notifier
from mainspring.control.schedules import PastInstantError
from mainspring.control.telling_commands import TellingCommands
from mainspring.domain.access import Permission
from mainspring.domain.alert import AlertEvent, AlertState
from mainspring.domain.instants import instant_text
from mainspring.domain.silence import Coverage, SilenceKind
from mainspring.domain.write_door import clean_text
from mainspring.errors import MainspringError
from mainspring.security.audit import Target
from mainspring.store.alerting import alert_handling, alerts, notifications, silences
from mainspring.store.engine.dialect import present_instant

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Actor
    from mainspring.domain.alert import Alert
    from mainspring.store.engine.database import Connection

_MAX_REASON: Final = 1_000


class AlertNotFoundError(MainspringError):
    """There is no alert of that id, or the caller sees none."""

    code = "ALERT_NOT_FOUND"


class AlertEndedError(MainspringError):
    """The alert is resolved: there is nothing left to do with it."""

    code = "ALERT_RESOLVED"


class NothingToUndoError(MainspringError):
    """What is to be taken back was not done to the alert by a person, or something else has happened since."""

    code = "NOTHING_TO_UNDO"


class AlertCommands(TellingCommands):
    """Commands on alerts."""

    async def acknowledge(self, actor: Actor, alert_id: UUID, *, reason: str | None = None) -> Alert:
        """Say that somebody looks after an alert: it is not escalated any more.

        Args:
            actor: Who looks after it; if somebody does already, that one stays.
            alert_id: Which alert.
            reason: What is to be known of it.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            AlertNotFoundError: There is none of that id.
            AlertEndedError: It is resolved.
        """
        return await self._change(
            actor,
            "alert.acknowledge",
            alert_id,
            lambda connection, alert: alert_handling.acknowledge(connection, alert.id, actor.subject),
            event=AlertEvent.ACKNOWLEDGED,
            reason=reason,
        )

    async def snooze(self, actor: Actor, alert_id: UUID, until: datetime, *, reason: str | None = None) -> Alert:
        """Let nobody be told of an alert until an instant; if it is still open then, it is told anew.

        Raises:
            PastInstantError: The instant is past.
            PermissionDeniedError, AlertNotFoundError, AlertEndedError: As for `acknowledge`.
        """

        def change(connection: Connection, alert: Alert) -> None:
            if until <= present_instant(connection):
                raise PastInstantError(f"until is {instant_text(until)}, which is past: give a later instant")
            alert_handling.snooze(connection, alert.id, until)

        return await self._change(actor, "alert.snooze", alert_id, change, event=AlertEvent.SNOOZED, reason=reason)

    async def resolve(self, actor: Actor, alert_id: UUID, *, reason: str | None = None) -> Alert:
        """End an alert before the monitor finds that it is over; if it is not, it opens again.

        Raises:
            PermissionDeniedError, AlertNotFoundError, AlertEndedError: As for `acknowledge`.
        """
        return await self._change(
            actor,
            "alert.resolve",
            alert_id,
            lambda connection, alert: alert_handling.resolve(connection, [alert.id], actor=actor.subject),
            event=AlertEvent.RESOLVED,
            reason=reason,
        )

    async def undo(
        self, actor: Actor, alert_id: UUID, *, seen: AlertState | None = None, reason: str | None = None
    ) -> Alert:
        """Take back what somebody did last: an acknowledgement, a snooze, or that they said that it is over.

        Escalation begins anew; whoever believes that all is well is told that it is not.

        Args:
            actor: Who takes it back.
            alert_id: Which alert.
            seen: How it has to stand, so that nothing is taken back that somebody else did since; None: any.
            reason: Why.

        Raises:
            NothingToUndoError: It is open, has recovered by itself, was opened anew, or does not stand as was seen.
            PermissionDeniedError, AlertNotFoundError: As for `acknowledge`.
        """

        def change(connection: Connection, alert: Alert) -> None:
            if seen not in (None, alert.state):
                raise NothingToUndoError(f"alert {alert_id} is {alert.state} by now, and not {seen}: look at it again")
            _require_undoable(connection, alert)
            alert_handling.undo(connection, alert_id, alert.state)

        return await self._change(
            actor, "alert.undo", alert_id, change, event=AlertEvent.TAKEN_BACK, reason=reason, may_be_over=True
        )

    async def mute(
        self, actor: Actor, alert_id: UUID, *, until: datetime | None = None, reason: str | None = None
    ) -> UUID:
        """Stop telling of this rule on this thing, now and whenever it opens again; it is watched as ever.

        Args:
            actor: Who no longer wants anybody to be told.
            alert_id: An alert of that rule and thing, open or not.
            until: When it is told again; None: when somebody ends the mute.
            reason: Why.

        Returns:
            The id of the mute, by which `MaintenanceCommands.end` ends it.

        Raises:
            PermissionDeniedError, AlertNotFoundError: As for `acknowledge`.
        """
        action, target = "alert.mute", Target("alert", str(alert_id))
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)
        silence_id = self._telling.world.new_id()

        def change(connection: Connection) -> None:
            alert = self._require(connection, actor, alert_id)
            if until is not None and until <= present_instant(connection):
                raise PastInstantError(f"until is {instant_text(until)}, which is past: give a later instant")
            silences.add(
                connection,
                actor.environment,
                silence_id,
                kind=SilenceKind.MUTE,
                covers=Coverage.ALERT,
                target=alert.deduplication_key,
                starts_at=None,
                ends_at=until,
                reason=None if reason is None else clean_text(reason, _MAX_REASON),
                created_by=actor.subject,
            )
            after = {"mutes": alert.deduplication_key, "until": instant_text(until), "muteId": str(silence_id)}
            self._audit.record(connection, actor, action, target, after=after, reason=reason)

        await self._database.tx(change)
        self._signals.send(alerts.ALERTS)
        return silence_id

    async def _change(
        self,
        actor: Actor,
        action: str,
        alert_id: UUID,
        change: Callable[[Connection, Alert], None],
        *,
        event: AlertEvent,
        reason: str | None,
        may_be_over: bool = False,
    ) -> Alert:
        target = Target("alert", str(alert_id))
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)

        def work(connection: Connection) -> Alert:
            before = self._require(connection, actor, alert_id)
            if before.resolved_at is not None and not may_be_over:
                raise AlertEndedError(f"alert {alert_id} ended at {instant_text(before.resolved_at)}")
            change(connection, before)
            notifier.tell(connection, actor.environment, {alert_id: event}, self._telling)
            (after,) = alerts.get_each(connection, actor.environment, [alert_id])
            self._audit.record(
                connection, actor, action, target, before=_audited(before), after=_audited(after), reason=reason
            )
            return after

        changed = await self._database.tx(work)
        self._signals.send(alerts.ALERTS)
        self._signals.send(notifications.NOTIFICATIONS)
        return changed

    @staticmethod
    def _require(connection: Connection, actor: Actor, alert_id: UUID) -> Alert:
        alert = alerts.get_locked(connection, actor.scope, alert_id)
        if alert is None:
            raise AlertNotFoundError(f"there is no alert {alert_id}: `GET /admin/alerts` lists them")
        return alert


def _require_undoable(connection: Connection, alert: Alert) -> None:
    if alert.state is AlertState.OPEN:
        raise NothingToUndoError(f"alert {alert.id} is open: nobody has done anything about it that could be undone")
    if alert.state is not AlertState.RESOLVED:
        return
    if alert.resolved_by is None:
        raise NothingToUndoError(f"alert {alert.id} has recovered by itself: if it comes back, it opens again")
    for other in alerts.all_open(connection, alert.environment):
        if other.deduplication_key == alert.deduplication_key:
            raise NothingToUndoError(f"alert {alert.id} has come back as {other.id}: look after that one")


def _audited(alert: Alert) -> dict[str, Any]:
    return {
        "state": alert.state.value,
        "acknowledgedBy": alert.acknowledged_by,
        "snoozedUntil": instant_text(alert.snoozed_until),
        "resolvedBy": alert.resolved_by,
    }
