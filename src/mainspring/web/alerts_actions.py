"""What people do about alerts from their page: acknowledge, snooze, resolve, mute, and plan maintenance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.control.alerts import AlertCommands, AlertNotFoundError
from mainspring.control.maintenance import MaintenanceCommands
from mainspring.domain.access import Permission
from mainspring.domain.alert import AlertState
from mainspring.domain.silence import Coverage
from mainspring.store.alerting import alerts
from mainspring.web.form_fields import Hours, Reason
from mainspring.web.visit import ActingVisit, PageVisit, Visit
from mainspring.web.words_alerts import ALERTS

if TYPE_CHECKING:
    from mainspring.domain.alert import Alert

router = APIRouter()
Verb = Literal["acknowledge", "snooze", "resolve", "mute"]
_ALERTS: Final = ("alerts",)
_SNOOZED_HOURS: Final = 4


@router.get("/alerts/maintenance")
async def ask_to_plan(visit: Visit) -> HTMLResponse:
    """Ask when nobody is to be told, and of what."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("alerts/plan.html", text=ALERTS)


@router.post("/alerts/maintenance")
async def plan(
    visit: ActingVisit,
    covers: Annotated[Literal["all", "group", "job"], Form()],
    hours: Annotated[str, Form(pattern=r"^\d{1,4}$")],
    target: Annotated[str, Form(max_length=200)] = "",
    reason: Reason = "",
) -> Response:
    """Plan a maintenance window that begins now."""
    wanted = None if covers == "all" else target.strip() or None
    await _maintenance(visit).plan(
        visit.actor,
        Coverage(covers),
        wanted,
        starts_at=None,
        ends_at=visit.now + timedelta(hours=int(hours)),
        reason=reason or None,
    )
    return visit.done(ALERTS.planned, changed=_ALERTS)


@router.get("/alerts/silences/{silence_id}/end")
async def ask_to_end(visit: Visit, silence_id: UUID) -> HTMLResponse:
    """Ask whether alerts are to be told again."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("alerts/end.html", action=f"/alerts/silences/{silence_id}/end", text=ALERTS)


@router.post("/alerts/silences/{silence_id}/end")
async def end(visit: ActingVisit, silence_id: UUID, reason: Reason = "") -> Response:
    """Let alerts be told again."""
    await _maintenance(visit).end(visit.actor, silence_id, reason=reason or None)
    return visit.done(ALERTS.ended, changed=_ALERTS)


@router.post("/alerts/{alert_id}/undo")
async def undo(visit: ActingVisit, alert_id: UUID, seen: Annotated[AlertState, Form()]) -> Response:
    """Take back what was just done, unless something else was done since."""
    alert = await _commands(visit).undo(visit.actor, alert_id, seen=seen)
    return visit.done(ALERTS.undone.format(subject=alert.subject, state=alert.state.value), changed=_ALERTS)


@router.get("/alerts/{alert_id}/{verb}")
async def ask(visit: Visit, alert_id: UUID, verb: Verb) -> HTMLResponse:
    """Ask whether something is to be done about an alert."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    alert = await _alert(visit, alert_id)
    return visit.fragment(
        "alerts/act.html",
        alert=alert,
        verb=verb,
        action=f"/alerts/{alert_id}/{verb}",
        hours=_SNOOZED_HOURS if verb == "snooze" else None,
        text=ALERTS,
    )


@router.post("/alerts/{alert_id}/{verb}")
async def act(visit: ActingVisit, alert_id: UUID, verb: Verb, hours: Hours = "", reason: Reason = "") -> Response:
    """Do it."""
    alert = await _alert(visit, alert_id)
    commands, until, said = _commands(visit), _until(visit, hours), reason or None
    taken_back_by, seen = f"/alerts/{alert_id}/undo", None
    match verb:
        case "acknowledge":
            seen = (await commands.acknowledge(visit.actor, alert_id, reason=said)).state
        case "resolve":
            seen = (await commands.resolve(visit.actor, alert_id, reason=said)).state
        case "snooze":
            until = until or visit.now + timedelta(hours=_SNOOZED_HOURS)
            seen = (await commands.snooze(visit.actor, alert_id, until, reason=said)).state
        case "mute":
            mute = await commands.mute(visit.actor, alert_id, until=until, reason=said)
            taken_back_by = f"/alerts/silences/{mute}/end"
    told = ALERTS.done[verb].format(subject=alert.subject)
    return visit.done(told, changed=_ALERTS, undo=taken_back_by, undo_form={"seen": seen.value} if seen else None)


async def _alert(visit: PageVisit, alert_id: UUID) -> Alert:
    found = await visit.database.read(lambda connection: alerts.get(connection, visit.scope, alert_id))
    if found is None:
        raise AlertNotFoundError(f"there is no alert {alert_id}")
    return found


def _until(visit: PageVisit, hours: str) -> datetime | None:
    return visit.now + timedelta(hours=int(hours)) if hours else None


def _commands(visit: PageVisit) -> AlertCommands:
    services = visit.services
    telling = NotificationSettings.of(services.app.settings, services.app.world)
    return AlertCommands(visit.database, services.audit, services.opened.signals, telling)


def _maintenance(visit: PageVisit) -> MaintenanceCommands:
    services = visit.services
    telling = NotificationSettings.of(services.app.settings, services.app.world)
    return MaintenanceCommands(visit.database, services.audit, services.opened.signals, telling)
