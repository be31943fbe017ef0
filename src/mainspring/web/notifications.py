"""`/ui/notifications`: what was told to the outside, what came of it, and whether it is worth it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from mainspring.alerts.telling import Telling
from mainspring.domain.access import Permission
from mainspring.domain.english import precise
from mainspring.domain.notification import NotificationStatus
from mainspring.store.alerting import alert_pages, notification_figures
from mainspring.store.alerting.alert_pages import NotificationFilter, NotificationPage
from mainspring.store.alerting.notification_figures import NotificationFigures
from mainspring.web.short_numbers import short_number
from mainspring.web.visit import Visit
from mainspring.web.words_alerts import NOTIFICATIONS

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter()
_PAGE: Final = 50
_SPAN: Final = timedelta(days=30)
_CHANNELS: Final = ("slack", "email", "webhook", "apprise", "sentry")


@router.get("/notifications")
async def show_notifications(
    visit: Visit,
    channel: Annotated[str, Query(max_length=100)] = "",
    status: Annotated[str, Query(max_length=20)] = "",
    job: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=1_000)] = 1,
) -> HTMLResponse:
    """Show what was told, and figures about it."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    asked = {
        name: value.strip().replace("\x00", "")
        for name, value in (("channel", channel), ("status", status), ("job", job))
    }
    wanted = NotificationFilter(
        channel=asked["channel"] or None,
        status=NotificationStatus(status) if status in set(NotificationStatus) else None,
        job_name=asked["job"] or None,
    )
    telling = Telling.of(visit.office.app.settings, visit.office.app.world)

    def read(connection: Connection) -> tuple[NotificationPage, NotificationFigures]:
        found = alert_pages.notifications_page(connection, visit.scope, wanted, skip=(page - 1) * _PAGE, size=_PAGE)
        return found, notification_figures.figures(connection, visit.scope, period=_SPAN, cooldown=telling.cooldown)

    found, figures = await visit.database.read(read)
    filled = {name: value for name, value in asked.items() if value}
    return await visit.page(
        "notifications.html",
        title=NOTIFICATIONS.title,
        notifications=found.notifications,
        newest=urlencode(filled) if page > 1 else None,
        older=urlencode(filled | {"page": page + 1}) if page * _PAGE < found.total else None,
        asked=asked,
        channels=_CHANNELS,
        statuses=[known.value for known in NotificationStatus],
        figures=_shown_figures(figures),
        noisiest=figures.noisiest,
        text=NOTIFICATIONS,
    )


def _shown_figures(figures: NotificationFigures) -> list[tuple[str, str, str]]:
    """Return each figure with its name and what it means."""
    ratio, seconds = figures.deduplication_ratio, figures.median_acknowledge_seconds
    return [
        (NOTIFICATIONS.occurrences, short_number(figures.occurrences), ""),
        (NOTIFICATIONS.messages, short_number(figures.messages), ""),
        (NOTIFICATIONS.ratio, "—" if ratio is None else f"{ratio:.0%}", NOTIFICATIONS.ratio_hint),
        (NOTIFICATIONS.cooldowns, short_number(figures.active_cooldowns), ""),
        (
            NOTIFICATIONS.acknowledged_after,
            "—" if seconds is None else precise(timedelta(seconds=round(seconds))),
            NOTIFICATIONS.acknowledged_hint,
        ),
    ]
