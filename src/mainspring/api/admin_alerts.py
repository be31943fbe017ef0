"""`/admin/alerts`: what is wrong, and what people do about it (cron-tracking document, contract §7)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from mainspring.api.admin_alerts_bodies import (
    AlertPageView,
    AlertView,
    GivenReason,
    Mute,
    MuteMade,
    Snooze,
    alert_json,
)
from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, next_link, pages_of
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices, Services
from mainspring.api.staff import staff_who_may
from mainspring.control.alerts import AlertCommands, AlertEndedError, AlertNotFoundError, NothingToUndoError
from mainspring.control.schedules import PastInstantError
from mainspring.domain.access import Actor, Permission
from mainspring.domain.alert import Alert, AlertRule, AlertState, Severity
from mainspring.store.alerting import alert_pages, alerts
from mainspring.store.alerting.alert_pages import AlertFilter

router = APIRouter(prefix="/admin/alerts", tags=["Alerts"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "alert.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "alert.change"))]
Reason = Annotated[GivenReason, Depends(json_body(GivenReason, required=False))]
_REASON = body_schema(GivenReason, required=False)
_CHANGED = {200: {"model": AlertView}, **documented(400, 413, 422, AlertNotFoundError, AlertEndedError)}


def alert_commands(services: CurrentServices) -> AlertCommands:
    """Return the commands, with the audit of this application."""
    return AlertCommands(services.database, services.audit, services.app.opened.signals, services.telling)


Commands = Annotated[AlertCommands, Depends(alert_commands)]


@router.get("", response_class=Response, responses={200: {"model": AlertPageView}, **documented(422)})
async def list_alerts(
    *,
    request: Request,
    services: CurrentServices,
    actor: Reader,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    state: Annotated[AlertState | None, Query(description="How they stand now.")] = None,
    severity: Severity | None = None,
    rule: AlertRule | None = None,
    job_name: Annotated[str | None, Query(alias="jobName", max_length=200, pattern=r"^[^\x00]+$")] = None,
    start: Annotated[GivenInstant | None, Query(alias="from", description="Opened at this instant or later.")] = None,
    end: Annotated[GivenInstant | None, Query(alias="to", description="Opened before this instant.")] = None,
) -> Response:
    """List alerts, the newest first."""
    wanted = AlertFilter(state, severity, rule, job_name, start, end)
    found = await services.database.read(
        lambda connection: alert_pages.alerts_page(
            connection, actor.scope, wanted, skip=(page - 1) * page_size, size=page_size
        )
    )
    headers = {"Total-Count-Capped": "true"} if found.is_capped else {}
    if page * page_size < found.total:
        headers["Link"] = next_link(request, page)
    shown = [_shown(services, alert) for alert in found.alerts]
    return json_response({"alerts": shown, **pages_of(found.total, page, page_size)}, headers=headers)


@router.get(
    "/{alert_id}", response_class=Response, responses={200: {"model": AlertView}, **documented(422, AlertNotFoundError)}
)
async def get_alert(services: CurrentServices, actor: Reader, alert_id: UUID) -> Response:
    """Return an alert."""
    alert = await services.database.read(lambda connection: alerts.get(connection, actor.scope, alert_id))
    if alert is None:
        raise AlertNotFoundError(f"there is no alert {alert_id}: `GET /admin/alerts` lists them")
    return json_response(_shown(services, alert))


@router.post("/{alert_id}/acknowledge", response_class=Response, responses=_CHANGED, openapi_extra=_REASON)
async def acknowledge_alert(
    services: CurrentServices, commands: Commands, actor: Operator, alert_id: UUID, body: Reason
) -> Response:
    """Say that you look after an alert: it is not escalated any more, and its end is told."""
    return json_response(_shown(services, await commands.acknowledge(actor, alert_id, reason=body.reason)))


@router.post(
    "/{alert_id}/snooze",
    response_class=Response,
    responses={**_CHANGED, **documented(400, 413, 422, AlertNotFoundError, AlertEndedError, PastInstantError)},
    openapi_extra=body_schema(Snooze),
)
async def snooze_alert(
    services: CurrentServices,
    commands: Commands,
    actor: Operator,
    alert_id: UUID,
    body: Annotated[Snooze, Depends(json_body(Snooze))],
) -> Response:
    """Let nobody be told of an alert until an instant; if it is still open then, it is told anew."""
    return json_response(_shown(services, await commands.snooze(actor, alert_id, body.until, reason=body.reason)))


@router.post("/{alert_id}/resolve", response_class=Response, responses=_CHANGED, openapi_extra=_REASON)
async def resolve_alert(
    services: CurrentServices, commands: Commands, actor: Operator, alert_id: UUID, body: Reason
) -> Response:
    """End an alert; if its rule is still broken, it opens again."""
    return json_response(_shown(services, await commands.resolve(actor, alert_id, reason=body.reason)))


@router.post(
    "/{alert_id}/undo",
    response_class=Response,
    responses={**_CHANGED, **documented(400, 413, 422, AlertNotFoundError, NothingToUndoError)},
    openapi_extra=_REASON,
)
async def undo_alert(
    services: CurrentServices, commands: Commands, actor: Operator, alert_id: UUID, body: Reason
) -> Response:
    """Take back what somebody did last: an acknowledgement, a snooze, or that they said that it is over."""
    return json_response(_shown(services, await commands.undo(actor, alert_id, reason=body.reason)))


@router.post(
    "/{alert_id}/mute",
    response_class=Response,
    responses={200: {"model": MuteMade}, **documented(400, 413, 422, AlertNotFoundError, PastInstantError)},
    openapi_extra=body_schema(Mute, required=False),
)
async def mute_alert(
    commands: Commands,
    actor: Operator,
    alert_id: UUID,
    body: Annotated[Mute, Depends(json_body(Mute, required=False))],
) -> Response:
    """Stop telling of this rule on this thing, also when it opens again; it is watched as ever."""
    made = await commands.mute(actor, alert_id, until=body.until, reason=body.reason)
    return json_response({"muteId": str(made)})


def _shown(services: Services, alert: Alert) -> dict[str, object]:
    return alert_json(alert, services.app.settings.public_url)
