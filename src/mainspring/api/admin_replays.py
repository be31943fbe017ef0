"""`/admin/replays`: run again what failed with one error, a few first, and stop where it fails again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, pages_of
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.replays import (
    NothingToReplayError,
    ReplayEndedError,
    ReplayNotFoundError,
    ReplayRequest,
)
from mainspring.domain.access import Actor, Permission
from mainspring.domain.instants import instant_text
from mainspring.domain.replay import MOST_REPLAYED, ReplayPlan, ReplayStatus
from mainspring.errors import JobNotFoundError
from mainspring.store.recovery import replays

if TYPE_CHECKING:
    from mainspring.domain.replay import Replay

REPLAYS_PATH: Final = "/admin/replays"
router = APIRouter(prefix=REPLAYS_PATH, tags=["Replays"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "replay.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "replay.change"))]
_STORABLE: Final = r"^[^\x00]+$"
_MOST_PER_MINUTE: Final = 60_000


class _Sent(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    reason: str | None = Field(default=None, max_length=1_000, description="Kept in the audit.")


class StartReplay(_Sent):
    """What is run again, and how."""

    job_name: str = Field(min_length=1, max_length=200, pattern=_STORABLE)
    fingerprint: str = Field(min_length=1, max_length=200, pattern=_STORABLE, description="Of the error.")
    code_version: str | None = Field(
        default=None, max_length=200, description="Only what this version of the application ran."
    )
    failed_from: GivenInstant | None = Field(default=None, description="Only what failed at this instant or later.")
    failed_until: GivenInstant | None = Field(default=None, description="Only what failed before this instant.")
    canary: int = Field(default=5, ge=1, le=1_000, description="How many are run first; their ends decide.")
    per_minute: int = Field(default=60, ge=1, le=_MOST_PER_MINUTE, description="How many are started each minute then.")
    stop_after: int = Field(
        default=1, ge=1, le=MOST_REPLAYED, description="Failures with the same fingerprint that stop it."
    )

    def request(self) -> ReplayRequest:
        """Return what is asked for."""
        return ReplayRequest(
            job_name=self.job_name,
            fingerprint=self.fingerprint,
            code_version=self.code_version,
            failed_from=self.failed_from,
            failed_until=self.failed_until,
            plan=ReplayPlan(self.canary, self.per_minute, self.stop_after),
            reason=self.reason,
        )


class CancelReplay(_Sent):
    """Why nothing more is started."""


class ReplayView(BaseModel):
    """A replay, and how far it has come."""

    model_config = ConfigDict(alias_generator=to_camel)

    id: UUID
    job_name: str
    fingerprint: str
    code_version: str | None
    failed_from: datetime | None
    failed_until: datetime | None
    canary: int
    per_minute: int
    stop_after: int
    status: ReplayStatus
    requested: int = Field(description="How many executions it runs again.")
    started: int
    succeeded: int
    failed_same: int = Field(description="How many failed with the same fingerprint again.")
    failed_otherwise: int = Field(description="How many failed with another one, were cancelled or skipped.")
    created_by: str
    reason: str | None
    ended_by: str | None = Field(description="Who cancelled it.")
    created_at: datetime
    ended_at: datetime | None


class ReplayPage(BaseModel):
    """One page of replays, the newest first."""

    model_config = ConfigDict(alias_generator=to_camel)

    replays: list[ReplayView]
    total: int
    page: int
    page_size: int
    total_pages: int


@router.get("", response_class=Response, responses={200: {"model": ReplayPage}, **documented(422)})
async def list_replays(
    services: CurrentServices, _actor: Reader, page: PageNumber = 1, page_size: PageSize = 25
) -> Response:
    """List replays, the newest first."""
    environment = services.app.settings.environment
    found, total = await services.database.read(
        lambda connection: replays.page(connection, environment, skip=(page - 1) * page_size, size=page_size)
    )
    return json_response({"replays": [replay_json(item) for item in found], **pages_of(total, page, page_size)})


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses={201: {"model": ReplayView}, **documented(400, 404, 413, 422, JobNotFoundError, NothingToReplayError)},
    openapi_extra=body_schema(StartReplay),
)
async def start_replay(
    commands: CurrentCommands, actor: Operator, body: Annotated[StartReplay, Depends(json_body(StartReplay))]
) -> Response:
    """Run again what failed with one error: a few first, then at a rate, until the same error comes back."""
    replay = await commands.replays.start(actor, body.request())
    return json_response(replay_json(replay), status=201, headers={"Location": f"{REPLAYS_PATH}/{replay.id}"})


@router.get("/{replay_id}", response_class=Response, responses={200: {"model": ReplayView}, **documented(404, 422)})
async def get_replay(services: CurrentServices, _actor: Reader, replay_id: UUID) -> Response:
    """Return a replay, and how far it has come."""
    environment = services.app.settings.environment
    found = await services.database.read(lambda connection: replays.get(connection, environment, replay_id))
    if found is None:
        raise ReplayNotFoundError(f"there is no replay {replay_id}: `GET {REPLAYS_PATH}` lists them")
    return json_response(replay_json(found))


@router.post(
    "/{replay_id}/cancel",
    response_class=Response,
    responses={200: {"model": ReplayView}, **documented(400, 404, 413, 422, ReplayEndedError)},
    openapi_extra=body_schema(CancelReplay, required=False),
)
async def cancel_replay(
    commands: CurrentCommands,
    actor: Operator,
    replay_id: UUID,
    body: Annotated[CancelReplay, Depends(json_body(CancelReplay, required=False))],
) -> Response:
    """Start nothing more; what runs goes on, and what was not started may be replayed later."""
    return json_response(replay_json(await commands.replays.cancel(actor, replay_id, reason=body.reason)))


def replay_json(replay: Replay) -> dict[str, Any]:
    """Return a replay as `ReplayView` describes it."""
    plan, progress = replay.plan, replay.progress
    return {
        "id": str(replay.id),
        "jobName": replay.job_name,
        "fingerprint": replay.fingerprint,
        "codeVersion": replay.code_version,
        "failedFrom": instant_text(replay.failed_from),
        "failedUntil": instant_text(replay.failed_until),
        "canary": plan.canary,
        "perMinute": plan.per_minute,
        "stopAfter": plan.stop_after,
        "status": replay.status.value,
        "requested": progress.requested,
        "started": progress.started,
        "succeeded": progress.succeeded,
        "failedSame": progress.failed_same,
        "failedOtherwise": progress.failed_otherwise,
        "createdBy": replay.created_by,
        "reason": replay.reason,
        "endedBy": replay.ended_by,
        "createdAt": instant_text(replay.created_at),
        "endedAt": instant_text(replay.ended_at),
    }
