"""`/api/services`: the services whose jobs are run over HTTP, how healthy they are, and what they have dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from mainspring.api.api_services_bodies import ListedView, ListJobs, ServiceList, ServiceView, service_json
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import ServiceNotFoundError, documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentCommands, CurrentServices, Services
from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission
from mainspring.store.remote import service_jobs
from mainspring.store.remote import services as stored_services

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter(prefix="/api/services", tags=["Services"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "service.view"))]
Registrant = Annotated[Actor, Depends(staff_who_may(Permission.REGISTER_JOBS, "service.list_jobs"))]
ServiceName = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$", description="The service's name.")]


@router.get("", response_class=Response, responses={200: {"model": ServiceList}, **documented(422)})
async def list_services(services: CurrentServices, _actor: Reader) -> Response:
    """List the services that have registered jobs, by name, each with its health, its breaker and its jobs."""
    return json_response({"services": await _shown_services(services)})


@router.get(
    "/{name}", response_class=Response, responses={200: {"model": ServiceView}, **documented(422, ServiceNotFoundError)}
)
async def get_service(services: CurrentServices, _actor: Reader, name: ServiceName) -> Response:
    """Return a service."""
    for service in await _shown_services(services):
        if service["name"] == name:
            return json_response(service)
    raise ServiceNotFoundError(f"no service is called {name!r}: `GET /api/services` lists those that registered jobs")


@router.put(
    "/{name}/jobs",
    response_class=Response,
    responses={200: {"model": ListedView}, **documented(400, 413, 422)},
    openapi_extra=body_schema(ListJobs),
)
async def list_jobs_of_service(
    commands: CurrentCommands,
    actor: Registrant,
    name: ServiceName,
    body: Annotated[ListJobs, Depends(json_body(ListJobs))],
) -> Response:
    """Say which jobs are in the code of your service: the others that it has registered are retired and orphaned."""
    listed = await commands.services.keep_only(actor, name, body.names, body.code_version)
    return json_response({"orphaned": list(listed.orphaned), "superseded": listed.superseded})


async def _shown_services(services: Services) -> list[dict[str, Any]]:
    environment = services.app.settings.environment

    def read(connection: Connection) -> list[dict[str, Any]]:
        jobs = service_jobs.of_services(connection, environment)
        return [
            service_json(service, [job for job in jobs if job.service_name == service.name])
            for service in stored_services.all_of(connection, environment)
        ]

    return await services.database.read(read)
