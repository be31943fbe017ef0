"""`/ui/notifications`: what was told to the outside, what came of it, and whether it is worth it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query
from starlette.responses import HTMLResponse, Response

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.control.notifications import NotificationCommands
from mainspring.domain.access import Permission
from mainspring.domain.english import precise
from mainspring.domain.notification import DEFAULT_DESTINATION, NotificationStatus
from mainspring.store.alerting import alert_pages, notification_figures
from mainspring.store.alerting.alert_pages import NotificationFilter, NotificationPage
from mainspring.store.alerting.notification_figures import NotificationFigures
from mainspring.web.short_numbers import short_number
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_alerts import NOTIFICATIONS

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter()
_PAGE: Final = 50
_SPAN: Final = timedelta(days=30)
_CHANNELS: Final = ("slack", "email", "webhook", "apprise", "sentry")


@dataclass(frozen=True, slots=True)
class AskedNotifications:
    """Which notifications are asked for, as an address says it."""

    channel: str
    status: str
    job: str
    page: int

    def wanted(self) -> NotificationFilter:
        """Return them as the store's filter."""
        known = self.status in set(NotificationStatus)
        return NotificationFilter(
            channel=self.channel or None,
            status=NotificationStatus(self.status) if known else None,
            job_name=self.job or None,
        )

    def query(self, page: int) -> str:
        """Return the query of another page of the same."""
        named = {"channel": self.channel, "status": self.status, "job": self.job, "page": page if page > 1 else None}
        return urlencode({name: value for name, value in named.items() if value})


def asked_notifications(
    channel: Annotated[str, Query(max_length=100)] = "",
    status: Annotated[str, Query(max_length=20)] = "",
    job: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=1_000)] = 1,
) -> AskedNotifications:
    """Return the filter of a request."""
    channel, status, job = (said.strip().replace("\x00", "") for said in (channel, status, job))
    return AskedNotifications(channel, status, job, page)


Asked = Annotated[AskedNotifications, Depends(asked_notifications)]


@router.get("/notifications")
async def show_notifications(visit: Visit, asked: Asked) -> HTMLResponse:
    """Show what was told, and figures about it."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    cooldown = NotificationSettings.of(visit.services.app.settings, visit.services.app.world).cooldown

    def read(connection: Connection) -> tuple[NotificationPage, NotificationFigures]:
        figures = notification_figures.figures(connection, visit.scope, period=_SPAN, cooldown=cooldown)
        return _page(connection, visit, asked), figures

    found, figures = await visit.database.read(read)
    return await visit.page(
        "notifications.html",
        title=NOTIFICATIONS.title,
        topics="alerts",
        channels=_CHANNELS,
        statuses=[known.value for known in NotificationStatus],
        figures=_shown_figures(figures),
        noisiest=figures.noisiest,
        may_change=visit.can(Permission.WRITE_ADMIN_SETTINGS),
        **_listed(found, asked),
    )


@router.get("/notifications/table")
async def show_notifications_anew(visit: Visit, asked: Asked) -> HTMLResponse:
    """Show what was told anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    found = await visit.database.read(lambda connection: _page(connection, visit, asked))
    return visit.fragment("notifications/table.html", **_listed(found, asked))


@router.get("/notifications/test")
async def ask_to_test(visit: Visit) -> HTMLResponse:
    """Ask which channel is to be tested."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("notifications/test.html", channels=_CHANNELS, text=NOTIFICATIONS)


@router.post("/notifications/test")
async def send_a_test(
    visit: ActingVisit,
    channel: Annotated[str, Form(max_length=100)],
    destination: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Send a test message by a channel."""
    services = visit.services
    commands = NotificationCommands(visit.database, services.audit, services.opened.signals)
    where = destination.strip() or DEFAULT_DESTINATION
    await commands.test(visit.actor, services.app.settings, services.app.world, channel, where)
    return visit.done(NOTIFICATIONS.tested.format(channel=channel), changed=("alerts",))


def _page(connection: Connection, visit: Visit, asked: AskedNotifications) -> NotificationPage:
    skip = (asked.page - 1) * _PAGE
    return alert_pages.notifications_page(connection, visit.scope, asked.wanted(), skip=skip, size=_PAGE)


def _listed(found: NotificationPage, asked: AskedNotifications) -> dict[str, Any]:
    return {
        "notifications": found.notifications,
        "asked": asked,
        "again": asked.query(asked.page),
        "newest": asked.query(1) if asked.page > 1 else None,
        "older": asked.query(asked.page + 1) if asked.page * _PAGE < found.total else None,
        "text": NOTIFICATIONS,
    }


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
