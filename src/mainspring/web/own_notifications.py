"""`/ui/notifications/mine`: what the visitor is told themselves, by mail or by a webhook of their own."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.control.notification_routes import UnfitRouteError
from mainspring.control.own_notifications import OWN_CHANNELS, OwnNotificationCommands
from mainspring.domain.alert import Severity
from mainspring.domain.redaction import redact_text
from mainspring.domain.route import DAYS, Route
from mainspring.errors import EgressRefusedError
from mainspring.web.clock import zone_label
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_own_notifications import OWN_NOTIFICATIONS

if TYPE_CHECKING:
    from mainspring.web.visit import PageVisit

router = APIRouter()
_Channel = Literal["email", "webhook"]
_Text = Annotated[str, Form(max_length=2_000)]
_EVER: Final = "00:00-24:00"


@router.get("/notifications/mine")
async def show_own_notifications(visit: Visit, saved: Literal["yes"] | None = None) -> HTMLResponse:
    """Show what the visitor is told themselves."""
    return await _page(visit, told=None if saved is None else OWN_NOTIFICATIONS.saved)


@router.post("/notifications/mine/{channel}")
async def choose_own_notifications(
    *,
    visit: ActingVisit,
    channel: _Channel,
    severity: Annotated[Severity, Form()],
    jobs: _Text = "",
    groups: _Text = "",
    days: Annotated[list[str] | None, Form()] = None,
    between: Annotated[str, Form(max_length=11)] = _EVER,
    url: Annotated[str, Form(max_length=2_048)] = "",
) -> Response:
    """Keep what the visitor chose for a channel."""
    given = {
        "severity": severity.value,
        "jobs": _names(jobs),
        "groups": _names(groups),
        "days": days or [],
        "between": between.strip() or _EVER,
        "zone": zone_label(visit.clock.own),
    }
    try:
        await _commands(visit).put(visit.actor, channel, given, url=url.strip() or None)
    except (UnfitRouteError, EgressRefusedError) as error:
        return await _page(visit, error=str(error))
    return _saved(visit)


@router.post("/notifications/mine/{channel}/remove")
async def remove_own_notifications(visit: ActingVisit, channel: _Channel) -> Response:
    """Tell the visitor nothing more by a channel."""
    await _commands(visit).remove(visit.actor, channel)
    return _saved(visit)


def _saved(visit: PageVisit) -> Response:
    return RedirectResponse(visit.path("/notifications/mine?saved=yes"), HTTPStatus.SEE_OTHER)


def _commands(visit: PageVisit) -> OwnNotificationCommands:
    services = visit.services
    app = services.app
    declared = [route.name for route in NotificationSettings.of(app.settings, app.world).routes]
    return OwnNotificationCommands(visit.database, services.audit, app.recipients, app.settings, declared)


def _names(text: str) -> list[str]:
    return [name for part in text.replace("\n", ",").split(",") if (name := part.strip())]


async def _page(visit: PageVisit, *, told: str | None = None, error: str | None = None) -> HTMLResponse:
    own = await _commands(visit).show(visit.actor)
    chosen = {route.channel: route for route in own.routes}
    return await visit.page(
        "own_notifications.html",
        title=OWN_NOTIFICATIONS.title,
        status=HTTPStatus.OK if error is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        address=own.address,
        webhook_hosts=", ".join(own.webhook_hosts),
        channels=[_shown(channel, chosen.get(channel)) for channel in OWN_CHANNELS],
        severities=[severity.value for severity in Severity],
        days=DAYS,
        zone=zone_label(visit.clock.own),
        told=told,
        error=error,
        text=OWN_NOTIFICATIONS,
    )


def _shown(channel: str, route: Route | None) -> dict[str, Any]:
    """Return what a form shows of a channel: what was chosen, or what is offered."""
    shown = route if route is not None else Route(channel)
    return {
        "channel": channel,
        "is_chosen": route is not None,
        "destination": None if route is None else redact_text(route.destination),
        "severity": shown.severity.value,
        "jobs": ", ".join(shown.jobs),
        "groups": ", ".join(shown.groups),
        "days": shown.hours.days,
        "between": shown.hours.between,
        "zone": shown.hours.zone,
    }
