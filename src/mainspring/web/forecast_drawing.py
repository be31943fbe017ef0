"""Where the planned runs of a forecast stand in a drawing of fixed width: geometry, without words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from mainspring.domain.forecast import Forecast, Lane

WIDTH: Final = 780
LABELS: Final = 190
LANE: Final = 26
TOP: Final = 8
AXIS: Final = 26
MOST_LANES: Final = 12
MARK: Final = 6
"""The narrowest mark that can still be seen and pointed at."""
_STEP: Final = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class Mark:
    """A planned run: where it is drawn, and when it is."""

    x: float
    width: float
    at: datetime
    collides: bool


@dataclass(frozen=True, slots=True)
class DrawnLane:
    """The row of one job; a band has one mark, from its first run to the end."""

    lane: Lane
    y: int
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A forecast with its places.

    Attributes:
        height: Of the whole drawing; it is `WIDTH` wide.
        lanes: From top to bottom, at most 12.
        hours: Where instants are written along the axis.
        hidden: How many further jobs are planned.
    """

    height: int
    lanes: Sequence[DrawnLane]
    hours: Sequence[tuple[float, datetime]]
    hidden: int


def draw(forecast: Forecast, zone: tzinfo) -> Drawing:
    """Return where everything stands; the axis is written in round twenty minutes of a zone."""
    meeting = {(at, name) for at, names in ((item.at, item.names) for item in forecast.collisions) for name in names}
    shown = forecast.lanes[:MOST_LANES]
    lanes = [DrawnLane(lane, TOP + place * LANE, _marks(forecast, lane, meeting)) for place, lane in enumerate(shown)]
    height = TOP + len(shown) * LANE + AXIS
    return Drawing(height, lanes, _hours(forecast, zone), len(forecast.lanes) - len(shown))


def _marks(forecast: Forecast, lane: Lane, meeting: set[tuple[datetime, str]]) -> list[Mark]:
    if lane.is_band:
        start = _x(forecast, lane.instants[0])
        return [Mark(start, WIDTH - start, lane.instants[0], collides=False)]
    length = (lane.job.usual or timedelta()) / (forecast.until - forecast.start) * (WIDTH - LABELS)
    return [
        Mark(x, round(max(MARK, min(length, WIDTH - x)), 1), at, (at, lane.job.name) in meeting)
        for at in lane.instants
        for x in (min(_x(forecast, at), WIDTH - MARK),)
    ]


def _hours(forecast: Forecast, zone: tzinfo) -> list[tuple[float, datetime]]:
    local = forecast.start.astimezone(zone)
    at = local.replace(minute=local.minute // 20 * 20, second=0, microsecond=0)
    found: list[tuple[float, datetime]] = []
    while (at := at + _STEP) < forecast.until:
        found.append((_x(forecast, at), at))
    return found


def _x(forecast: Forecast, at: datetime) -> float:
    share = (at - forecast.start) / (forecast.until - forecast.start)
    return round(LABELS + share * (WIDTH - LABELS), 1)
