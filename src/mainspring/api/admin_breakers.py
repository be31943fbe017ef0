"""`/admin/breakers`: which jobs are held back because they keep failing, and the hand on that switch."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.job_breakers import NoBreakerError
from mainspring.domain.access import Actor, Permission
from mainspring.domain.breaker import BreakerState
from mainspring.domain.instants import instant_text
from mainspring.store.recovery import job_breakers

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.store.recovery.job_breakers import StoredBreaker

router = APIRouter(prefix="/admin/breakers", tags=["Breakers"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "breaker.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "breaker.change"))]
JobName = Annotated[str, Path(max_length=200, description="The job's name.")]
_CLOSED: Final = {"state": BreakerState.CLOSED.value, "failures": 0}


class SetBreaker(BaseModel):
    """What a breaker is to be."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)

    state: Literal["open", "closed"] = Field(
        description="Open: nothing is started, no probe either, until somebody closes it. Closed: what waits goes on."
    )
    reason: str | None = Field(default=None, max_length=1_000, description="Kept in the audit.")


class JobBreakerView(BaseModel):
    """The breaker of a job."""

    model_config = ConfigDict(alias_generator=to_camel)

    job_name: str
    state: BreakerState
    failures: int = Field(description="Attempts that failed since the last one that did not.")
    opened_at: datetime | None = Field(description="Since when it holds back; of a closed one, when it last began to.")
    until: datetime | None = Field(description="When a probe may be sent.")
    held_by: str | None = Field(description="Who holds it open.")
    held_reason: str | None
    last_error: str | None
    fingerprint: str | None = Field(description="Of the last error.")


class JobBreakerList(BaseModel):
    """The breakers that jobs declare, by the names of the jobs."""

    breakers: list[JobBreakerView]


@router.get("", response_class=Response, responses={200: {"model": JobBreakerList}, **documented(422)})
async def list_breakers(services: CurrentServices, _actor: Reader) -> Response:
    """List the breakers of all jobs that declare one."""
    environment = services.app.settings.environment

    def read(connection: Connection) -> list[dict[str, Any]]:
        names = job_breakers.declared(connection, environment)
        kept = job_breakers.find(connection, environment, names)
        return [breaker_json(name, kept.get(name)) for name in names]

    return json_response({"breakers": await services.database.read(read)})


@router.put(
    "/{job}",
    response_class=Response,
    responses={200: {"model": JobBreakerView}, **documented(400, 404, 413, 422, NoBreakerError)},
    openapi_extra=body_schema(SetBreaker),
)
async def set_breaker(
    commands: CurrentCommands,
    actor: Operator,
    job: JobName,
    body: Annotated[SetBreaker, Depends(json_body(SetBreaker))],
) -> Response:
    """Hold the breaker of a job open, or close it."""
    change = commands.breakers.hold_open if body.state == "open" else commands.breakers.close
    return json_response(breaker_json(job, await change(actor, job, reason=body.reason)))


def breaker_json(name: str, breaker: StoredBreaker | None) -> dict[str, Any]:
    """Return the breaker of a job as `JobBreakerView` describes it; one that has counted nothing is closed."""
    if breaker is None:
        said = dict.fromkeys(("openedAt", "until", "heldBy", "heldReason", "lastError", "fingerprint"))
        return {"jobName": name, **_CLOSED, **said}
    return {
        "jobName": name,
        "state": breaker.state.value,
        "failures": breaker.failures,
        "openedAt": instant_text(breaker.opened_at),
        "until": instant_text(breaker.until),
        "heldBy": breaker.held_by,
        "heldReason": breaker.held_reason,
        "lastError": breaker.last_error,
        "fingerprint": breaker.error_fingerprint,
    }
