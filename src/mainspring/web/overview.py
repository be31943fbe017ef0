"""`/ui/`: is all well, what needs somebody, what comes next. Each card is read by itself and fails by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from markupsafe import Markup
from starlette.responses import HTMLResponse

from mainspring.domain.access import Permission, Scope
from mainspring.domain.alert import AlertState
from mainspring.domain.forecast import forecast
from mainspring.domain.look_back import LOOKS_BACK, LookBack, look_back
from mainspring.errors import StoreError
from mainspring.store.alerting import alerts
from mainspring.store.analytics import failure_groups, rolled_outcomes
from mainspring.store.coordination import nodes
from mainspring.store.queue import queues
from mainspring.store.runs import latest_runs
from mainspring.store.scheduling import planned_jobs
from mainspring.web import overview_cards, overview_figure_words, overview_figures
from mainspring.web.look_back_words import IN_WORDS
from mainspring.web.visit import PageVisit, Visit
from mainspring.web.words_overview import OVERVIEW

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection

router = APIRouter()
_logger = logging.getLogger(__name__)
PATIENCE_SECONDS: Final = 5.0
WINDOW: Final = timedelta(hours=2)
MOST_GROUPS: Final = 6
MOST_QUEUES: Final = 8
LATEST: Final = 8


def _asked(key: Annotated[str | None, Query(alias="range", max_length=10)] = None) -> LookBack:
    return look_back(key)


Asked = Annotated[LookBack, Depends(_asked)]


class CardName(StrEnum):
    """The cards, in the order of the page."""

    ATTENTION = "attention"
    FIGURES = "figures"
    THROUGHPUT = "throughput"
    FAILURES = "failures"
    FORECAST = "forecast"
    QUEUES = "queues"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it is drawn.

    Attributes:
        name: Its name, which its address ends with.
        columns: How wide it is.
        live: The topics at whose news it is read again.
        title: What it is called where it could not be read.
    """

    name: CardName
    columns: str
    live: str
    title: str


CARDS: Final = (
    Card(CardName.ATTENTION, "col-12", "alerts", OVERVIEW.attention_open),
    Card(CardName.FIGURES, "col-12", "stats", OVERVIEW.figures),
    Card(CardName.THROUGHPUT, "col-lg-8", "stats", OVERVIEW.throughput),
    Card(CardName.FAILURES, "col-lg-4", "stats", OVERVIEW.failures),
    Card(CardName.FORECAST, "col-lg-8", "schedules", OVERVIEW.forecast),
    Card(CardName.QUEUES, "col-lg-4", "queues", OVERVIEW.queues),
    Card(CardName.LATEST, "col-12", "runs", OVERVIEW.latest),
)
OF_NAME: Final = {card.name: card for card in CARDS}
NEEDED: Final = Permission.READ_ADMIN_SETTINGS


@router.get("/")
async def overview(visit: Visit, looked: Asked) -> HTMLResponse:
    """Show the overview."""
    await visit.require(NEEDED)
    if await visit.database.read(lambda connection: _is_new(connection, visit.scope)):
        return await visit.page("overview/first.html", title=OVERVIEW.title, topics="runs", text=OVERVIEW)
    drawn = [(card, await _content(visit, card, looked)) for card in CARDS]
    return await visit.page(
        "overview.html",
        title=OVERVIEW.title,
        topics=" ".join(sorted({card.live for card in CARDS})),
        cards=drawn,
        looked=looked,
        looks_back=LOOKS_BACK,
        ranges=IN_WORDS,
        text=OVERVIEW,
    )


@router.get("/overview/{name}")
async def overview_card(visit: Visit, name: CardName, looked: Asked) -> HTMLResponse:
    """Show one card anew."""
    await visit.require(NEEDED)
    return HTMLResponse(await _content(visit, OF_NAME[name], looked))


async def _content(visit: PageVisit, card: Card, looked: LookBack) -> Markup:
    """Return a card as it is now; where the store does not answer, with that instead."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            context = await visit.database.read(lambda connection: READERS[card.name](connection, visit, looked))
    except (StoreError, TimeoutError) as error:
        _logger.warning("the card %r of the overview could not be read: %s", card.name.value, error)
        path = f"/overview/{card.name}?range={looked.key}"
        return _rendered(visit, "overview/failed.html", {"title": card.title, "retry_path": path})
    return _rendered(visit, f"overview/{card.name}.html", context)


def _rendered(visit: PageVisit, template: str, context: Mapping[str, object]) -> Markup:
    return Markup(visit.templates.render(template, visit, {**context, "text": OVERVIEW}))  # noqa: S704 - made by a template, which has escaped it


def _is_new(connection: Connection, scope: Scope) -> bool:
    return not latest_runs.find(connection, scope, most=1)


def _attention(connection: Connection, visit: PageVisit, looked: LookBack) -> dict[str, Any]:
    found = [alert for alert in alerts.all_open(connection, visit.environment) if alert.state is AlertState.OPEN]
    if found:
        return overview_cards.attention(found)
    return overview_cards.failing(failure_groups.find(connection, visit.scope, looked.span, most=MOST_GROUPS))


def _figures(connection: Connection, visit: PageVisit, looked: LookBack) -> dict[str, Any]:
    found = overview_figures.read(connection, visit.scope, looked)
    return {"figures": overview_figure_words.figures(found, looked, visit.now)}


def _throughput(connection: Connection, visit: PageVisit, looked: LookBack) -> dict[str, Any]:
    counts = rolled_outcomes.over_time(connection, visit.scope, looked.span, looked.buckets)
    return overview_cards.throughput(counts, looked, visit.now, visit.clock.zone())


def _failures(connection: Connection, visit: PageVisit, looked: LookBack) -> dict[str, Any]:
    found = failure_groups.find(connection, visit.scope, looked.span, most=MOST_GROUPS)
    return overview_cards.failures(found, looked)


def _forecast(connection: Connection, visit: PageVisit, _looked: LookBack) -> dict[str, Any]:
    jobs = planned_jobs.find(connection, visit.environment, WINDOW)
    return overview_cards.planned(forecast(jobs, visit.now, WINDOW), visit.clock.zone())


def _queues(connection: Connection, visit: PageVisit, _looked: LookBack) -> dict[str, Any]:
    alive = nodes.at_work(connection, visit.environment)
    slots = sum(node.slots for node in alive if node.lost_at is None and "worker" in node.roles)
    found = queues.find(connection, visit.environment)
    return {"queues": overview_cards.saturation(found, slots, MOST_QUEUES)}


def _latest(connection: Connection, visit: PageVisit, _looked: LookBack) -> dict[str, Any]:
    return {"runs": latest_runs.find(connection, visit.scope, most=LATEST)}


READERS: Final[Mapping[CardName, Callable[[Connection, PageVisit, LookBack], dict[str, Any]]]] = {
    CardName.ATTENTION: _attention,
    CardName.FIGURES: _figures,
    CardName.THROUGHPUT: _throughput,
    CardName.FAILURES: _failures,
    CardName.FORECAST: _forecast,
    CardName.QUEUES: _queues,
    CardName.LATEST: _latest,
}
"""What each card reads, in one look at the store."""
