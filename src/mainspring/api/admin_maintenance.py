"""`/admin/maintenance`: times in which alerts are watched and not told."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from mainspring.api.admin_alerts_bodies import GivenReason, PlanMaintenance, SilenceList, SilenceView, silence_json
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.maintenance import MaintenanceCommands, SilenceNotFoundError, UnfitWindowError
from mainspring.control.schedules import PastInstantError
from mainspring.domain.access import Actor, Permission
from mainspring.domain.silence import SilenceKind
from mainspring.store.alerting import silences

router = APIRouter(prefix="/admin/maintenance", tags=["Alerts"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "maintenance.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "maintenance.change"))]


def maintenance_commands(services: CurrentServices) -> MaintenanceCommands:
    """Return the commands, with the audit of this application."""
    return MaintenanceCommands(services.database, services.audit, services.app.opened.signals, services.telling)


Commands = Annotated[MaintenanceCommands, Depends(maintenance_commands)]


@router.get("", response_class=Response, responses={200: {"model": SilenceList}, **documented(422)})
async def list_maintenance(
    services: CurrentServices,
    actor: Reader,
    kind: SilenceKind = SilenceKind.MAINTENANCE,
    closed: Annotated[bool, Query(description="Whether those that are over are among them.")] = False,  # noqa: FBT002 - a parameter
) -> Response:
    """List maintenance windows or mutes, the newest first."""
    found = await services.database.read(
        lambda connection: silences.find(connection, actor.scope, kind=kind, closed=closed)
    )
    return json_response({"windows": [silence_json(item) for item in found]})


@router.post(
    "",
    response_class=Response,
    status_code=201,
    responses={201: {"model": SilenceView}, **documented(400, 413, 422, UnfitWindowError, PastInstantError)},
    openapi_extra=body_schema(PlanMaintenance),
)
async def plan_maintenance(
    commands: Commands, actor: Operator, body: Annotated[PlanMaintenance, Depends(json_body(PlanMaintenance))]
) -> Response:
    """Plan a maintenance window; what it holds back is summed up at its end."""
    planned = await commands.plan(
        actor, body.covers, body.target, starts_at=body.starts_at, ends_at=body.ends_at, reason=body.reason
    )
    return json_response(silence_json(planned), status=201)


@router.post(
    "/{silence_id}/end",
    response_class=Response,
    responses={200: {"model": SilenceView}, **documented(400, 413, 422, SilenceNotFoundError)},
    openapi_extra=body_schema(GivenReason, required=False),
)
async def end_maintenance(
    commands: Commands,
    actor: Operator,
    silence_id: UUID,
    body: Annotated[GivenReason, Depends(json_body(GivenReason, required=False))],
) -> Response:
    """End a maintenance window or a mute now."""
    return json_response(silence_json(await commands.end(actor, silence_id, reason=body.reason)))
