"""`/admin/pause` and `/admin/resume`: the incident switch of an environment."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.schedules import MAX_REASON, PastInstantError
from mainspring.domain.access import Actor, Permission
from mainspring.domain.instants import instant_text
from mainspring.store.scheduling import pauses

if TYPE_CHECKING:
    from mainspring.store.scheduling.pauses import PauseOfAll

router = APIRouter(prefix="/admin", tags=["Scheduler"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "schedule.view_pause"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "schedule.pause_all"))]


class _Sent(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    reason: str | None = Field(default=None, max_length=MAX_REASON, description="Kept in the audit.")


class PauseAll(_Sent):
    """Until when no schedule fires."""

    until: GivenInstant | None = Field(default=None, description="Until somebody resumes, where it is left out.")
    stop_runs: bool = Field(default=False, description="Whether what schedules have started is cancelled too.")


class ResumeAll(_Sent):
    """Why schedules fire again."""


class PauseView(BaseModel):
    """Whether everything is paused."""

    model_config = ConfigDict(alias_generator=to_camel)

    paused: bool
    since: datetime | None
    until: datetime | None
    by: str | None
    reason: str | None
    stopped: int = Field(description="Executions that this request has cancelled, or asked to stop.")


@router.get("/pause", response_class=Response, responses={200: {"model": PauseView}, **documented()})
async def get_pause(services: CurrentServices, _actor: Reader) -> Response:
    """Say whether everything is paused."""
    return json_response(await _shown(services))


@router.post(
    "/pause",
    response_class=Response,
    responses={200: {"model": PauseView}, **documented(400, 413, 422, PastInstantError)},
    openapi_extra=body_schema(PauseAll, required=False),
)
async def pause_everything(
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Operator,
    body: Annotated[PauseAll, Depends(json_body(PauseAll, required=False))],
) -> Response:
    """Let no schedule fire on any node; what is queued and running goes on, unless it is to be stopped."""
    stopped = await commands.pauses.pause_all(actor, reason=body.reason, until=body.until, stop_runs=body.stop_runs)
    return json_response(await _shown(services, stopped))


@router.post(
    "/resume",
    response_class=Response,
    responses={200: {"model": PauseView}, **documented(400, 413, 422)},
    openapi_extra=body_schema(ResumeAll, required=False),
)
async def resume_everything(
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Operator,
    body: Annotated[ResumeAll, Depends(json_body(ResumeAll, required=False))],
) -> Response:
    """Let schedules fire again, each from its next instant on."""
    await commands.pauses.resume_all(actor, reason=body.reason)
    return json_response(await _shown(services))


async def _shown(services: CurrentServices, stopped: int = 0) -> dict[str, Any]:
    environment = services.app.settings.environment
    found = await services.database.read(lambda connection: pauses.in_force(connection, environment))
    return _pause_json(found) | {"stopped": stopped}


def _pause_json(pause: PauseOfAll | None) -> dict[str, Any]:
    if pause is None:
        return {"paused": False, "since": None, "until": None, "by": None, "reason": None}
    return {
        "paused": True,
        "since": instant_text(pause.starts_at),
        "until": None if pause.ends_at is None else instant_text(pause.ends_at),
        "by": pause.by,
        "reason": pause.reason,
    }
