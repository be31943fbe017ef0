"""`/admin/notifications`: what was told to the outside, what came of it, and whether it is worth it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from mainspring.api.admin_notifications_bodies import (
    AnalyticsView,
    NotificationPageView,
    analytics_json,
    notification_json,
)
from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, next_link, pages_of
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission
from mainspring.domain.notification import NotificationStatus
from mainspring.store.alerting import alert_pages, notification_figures
from mainspring.store.alerting.alert_pages import NotificationFilter

router = APIRouter(prefix="/admin/notifications", tags=["Alerts"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "notification.view"))]
_STORABLE = r"^[^\x00]+$"


@router.get("", response_class=Response, responses={200: {"model": NotificationPageView}, **documented(422)})
async def list_all_notifications(
    *,
    request: Request,
    services: CurrentServices,
    actor: Reader,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    channel: Annotated[str | None, Query(max_length=100, pattern=_STORABLE, description="slack, email …")] = None,
    status: NotificationStatus | None = None,
    job_name: Annotated[
        str | None, Query(alias="jobName", max_length=200, pattern=_STORABLE, description="Of alerts of this job.")
    ] = None,
    start: Annotated[GivenInstant | None, Query(alias="from", description="Made at this instant or later.")] = None,
    end: Annotated[GivenInstant | None, Query(alias="to", description="Made before this instant.")] = None,
) -> Response:
    """List notifications with their deliveries, the newest first; those that were suppressed say why."""
    wanted = NotificationFilter(channel, status, job_name, start, end)
    found = await services.database.read(
        lambda connection: alert_pages.notifications_page(
            connection, actor.scope, wanted, skip=(page - 1) * page_size, size=page_size
        )
    )
    headers = {"Total-Count-Capped": "true"} if found.is_capped else {}
    if page * page_size < found.total:
        headers["Link"] = next_link(request, page)
    shown = [notification_json(item) for item in found.notifications]
    return json_response({"notifications": shown, **pages_of(found.total, page, page_size)}, headers=headers)


@router.get("/analytics", response_class=Response, responses={200: {"model": AnalyticsView}, **documented(422)})
async def get_notification_analytics(
    services: CurrentServices, actor: Reader, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> Response:
    """Say how much is told by each channel, which rules make most of it, and how soon somebody looks after it."""
    cooldown = services.telling.cooldown
    figures = await services.database.read(
        lambda connection: notification_figures.figures(
            connection, actor.scope, period=timedelta(days=days), cooldown=cooldown
        )
    )
    return json_response(analytics_json(days, figures))
