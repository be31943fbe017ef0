"""`/admin/notifications/mine`: what people are told themselves; they choose it without the right to change more."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from mainspring.api.admin_notifications_bodies import RouteView, route_json
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.request_body import body_schema, json_body
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.control.notification_routes import RouteNotFoundError, UnfitRouteError
from mainspring.control.own_notifications import OwnNotificationCommands
from mainspring.domain.access import Actor, Permission
from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.route import DAYS
from mainspring.errors import EgressRefusedError

router = APIRouter(prefix="/admin/notifications/mine", tags=["Alerts"], dependencies=[only_known_parameters])

Person = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "route.own"))]
OwnChannel = Literal["email", "webhook"]


class GivenOwnRoute(BaseModel):
    """What somebody is told themselves."""

    model_config = ConfigDict(extra="forbid", strict=True)

    severity: Severity = Field(default=Severity.WARNING, strict=False, description="The least that is told.")
    rules: list[AlertRule] = Field(default=[], strict=False)
    jobs: list[str] = Field(default=[], description="Patterns such as `billing-*`.")
    groups: list[str] = []
    days: list[str] = Field(default=list(DAYS), description="mon to sun.")
    between: str = Field(default="00:00-24:00", description="On the clocks of `zone`.")
    zone: str = Field(default="UTC", max_length=100)
    url: str | None = Field(
        default=None, max_length=2_048, description="Where your webhook leads; for `webhook` alone."
    )


class OwnNotificationsView(BaseModel):
    """What whoever asks is told themselves, and what they may choose."""

    address: str | None = Field(description="Where mail goes; null: no address of yours is known.")
    webhook_hosts: list[str] = Field(alias="webhookHosts", description="Where a webhook of yours may lead.")
    routes: list[RouteView]


def own_notification_commands(services: CurrentServices) -> OwnNotificationCommands:
    """Return the commands, with the audit of this application."""
    app = services.app
    declared = [route.name for route in services.telling.routes]
    return OwnNotificationCommands(services.database, services.audit, app.recipients, app.settings, declared)


Commands = Annotated[OwnNotificationCommands, Depends(own_notification_commands)]
_ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": OwnNotificationsView}}


@router.get("", response_class=Response, responses=_ANSWER | documented(422))
async def show_own_notifications(commands: Commands, actor: Person) -> Response:
    """Return what you are told yourself, beside what everybody is told."""
    return await _shown(commands, actor)


@router.put(
    "/{channel}",
    response_class=Response,
    responses=_ANSWER | documented(400, 413, 422, UnfitRouteError, EgressRefusedError),
    openapi_extra=body_schema(GivenOwnRoute),
)
async def choose_own_notifications(
    commands: Commands,
    actor: Person,
    channel: OwnChannel,
    body: Annotated[GivenOwnRoute, Depends(json_body(GivenOwnRoute))],
) -> Response:
    """Choose what you are told by mail, or by a webhook to a host that the operator allows."""
    given = body.model_dump(mode="json", exclude={"url"})
    await commands.put(actor, channel, given, url=body.url)
    return await _shown(commands, actor)


@router.delete("/{channel}", response_class=Response, responses=_ANSWER | documented(422, RouteNotFoundError))
async def remove_own_notifications(commands: Commands, actor: Person, channel: OwnChannel) -> Response:
    """Be told nothing more by a channel, beside what everybody is told."""
    await commands.remove(actor, channel)
    return await _shown(commands, actor)


async def _shown(commands: OwnNotificationCommands, actor: Actor) -> Response:
    own = await commands.show(actor)
    routes = [route_json(route, enabled=True, source=actor.subject) for route in own.routes]
    return json_response({"address": own.address, "webhookHosts": list(own.webhook_hosts), "routes": routes})
