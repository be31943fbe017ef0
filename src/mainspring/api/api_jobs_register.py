"""`POST /api/jobs/register`: a service says which job is in its code; admins go on to say when it runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from mainspring.api.api_jobs_lookup import JOBS_PATH, shown_job
from mainspring.api.api_jobs_register_bodies import Registered, RegisterJob
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.service_job_checks import JobElsewhereError
from mainspring.domain.access import Actor, Permission

router = APIRouter(prefix=JOBS_PATH, tags=["Services"], dependencies=[only_known_parameters])

Registrant = Annotated[Actor, Depends(staff_who_may(Permission.REGISTER_JOBS, "job.register"))]


@router.post(
    "/register",
    response_class=Response,
    responses={
        200: {"model": Registered},
        201: {"model": Registered},
        **documented(400, 413, 422, JobElsewhereError),
    },
    openapi_extra=body_schema(RegisterJob),
)
async def register_job(
    services: CurrentServices,
    commands: CurrentCommands,
    actor: Registrant,
    body: Annotated[RegisterJob, Depends(json_body(RegisterJob))],
) -> Response:
    """Keep a job that is in the code of your service: 201 if it is new. Whatever admins have changed stays as it is."""
    outcome = await commands.services.register(actor, body.service_name, body.service_job())
    job = await shown_job(services, body.name)
    created = outcome == "created"
    return json_response(
        {**job, "outcome": outcome, "warnings": body.unknown_fields},
        status=201 if created else 200,
        headers={"Location": f"{JOBS_PATH}/{body.name}"} if created else None,
    )
