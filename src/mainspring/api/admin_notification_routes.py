"""`/admin/notification-routes`: whom alerts are told to; what people choose stands beside what the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from mainspring.alerts import notifier
from mainspring.api.admin_notifications_bodies import GivenRoute, RouteList, RulesOfJob, route_json
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.notification_routes import RouteCommands, RouteNotFoundError, UnfitRouteError
from mainspring.domain.access import Actor, Permission
from mainspring.errors import JobNotFoundError
from mainspring.store.alerting import alert_facts, notification_routes

if TYPE_CHECKING:
    from mainspring.domain.route import Route
    from mainspring.store.alerting.alert_facts import JobFacts
    from mainspring.store.engine.database import Connection

router = APIRouter(prefix="/admin/notification-routes", tags=["Alerts"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "route.view"))]
Operator = Annotated[Actor, Depends(staff_who_may(Permission.WRITE_ADMIN_SETTINGS, "route.change"))]
Name = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$", description="The route's name.")]

JobName = Annotated[str, Path(max_length=200, pattern=r"^[^\x00]+$", description="The job's name.")]


def route_commands(services: CurrentServices) -> RouteCommands:
    """Return the commands, with the audit of this application."""
    return RouteCommands(services.database, services.audit, services.telling)


Commands = Annotated[RouteCommands, Depends(route_commands)]


@router.get("", response_class=Response, responses={200: {"model": RouteList}, **documented(422)})
async def list_routes(services: CurrentServices, _actor: Reader) -> Response:
    """List the routes of the settings, and what people chose beside them or in their place."""
    return json_response({"routes": await _all(services)})


@router.get(
    "/jobs/{name}",
    response_class=Response,
    responses={200: {"model": RulesOfJob}, **documented(422, JobNotFoundError)},
)
async def get_rules_of_job(services: CurrentServices, _actor: Reader, name: JobName) -> Response:
    """Return whom the alerts of a job are told to, at whatever severity, and by which templates of its own."""
    telling, environment = services.telling, services.app.settings.environment

    def read(connection: Connection) -> tuple[JobFacts | None, list[Route]]:
        facts = alert_facts.job_facts(connection, environment, [name]).get(name)
        return facts, notifier.routes_in_force(connection, environment, telling.routes)

    facts, routes = await services.database.read(read)
    if facts is None:
        raise JobNotFoundError(f"no job is called {name!r}: `mainspring jobs list` lists them")
    fitting = [route for route in routes if route.may_tell_of(name, facts.group, environment)]
    shown = [route_json(route, enabled=True, source="all jobs") for route in fitting]
    own = [route_json(route, enabled=True, source="job") for route in notifier.routes_of_job(name, facts.notify)]
    return json_response({"jobName": name, "routes": shown + own, "templates": telling.templates.of_job(name)})


@router.put(
    "/{name}",
    response_class=Response,
    responses={200: {"model": RouteList}, **documented(400, 404, 413, 422, UnfitRouteError)},
    openapi_extra=body_schema(GivenRoute),
)
async def put_route(
    services: CurrentServices,
    commands: Commands,
    actor: Operator,
    name: Name,
    body: Annotated[GivenRoute, Depends(json_body(GivenRoute))],
) -> Response:
    """Choose what is told by a route; one of the settings keeps its name and is changed by it."""
    await commands.put(actor, name, body.model_dump(mode="json"))
    return json_response({"routes": await _all(services)})


@router.post(
    "/{name}/disable",
    response_class=Response,
    responses={200: {"model": RouteList}, **documented(422, RouteNotFoundError)},
)
async def disable_route(services: CurrentServices, commands: Commands, actor: Operator, name: Name) -> Response:
    """Let nothing be told by a route of the settings."""
    await commands.put(actor, name, None)
    return json_response({"routes": await _all(services)})


@router.delete(
    "/{name}", response_class=Response, responses={200: {"model": RouteList}, **documented(422, RouteNotFoundError)}
)
async def delete_route(services: CurrentServices, commands: Commands, actor: Operator, name: Name) -> Response:
    """Take back what was chosen: what the settings say of this route counts again."""
    await commands.remove(actor, name)
    return json_response({"routes": await _all(services)})


async def _all(services: CurrentServices) -> list[dict[str, Any]]:
    environment = services.app.settings.environment
    stored = await services.database.read(lambda connection: notification_routes.find(connection, environment))
    chosen = {item.name for item in stored}
    off = {item.name: item.updated_by for item in stored if item.route is None}
    shown = [
        route_json(route, enabled=route.name not in off, source=off.get(route.name, "settings"))
        for route in services.telling.routes
        if route.name not in chosen or route.name in off
    ]
    return shown + [
        route_json(item.route, enabled=True, source=item.updated_by) for item in stored if item.route is not None
    ]
