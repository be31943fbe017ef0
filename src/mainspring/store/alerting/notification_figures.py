"""How much is told, and whether it is worth it: figures about notifications and the alerts behind them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.notification import REVISION
from mainspring.store.engine.dialect import present_instant
from mainspring.store.tables import alerts, notifications

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime, timedelta

    from mainspring.domain.access import Scope

_NOISIEST: Final = 10
_READ: Final = 100_000
"""At most so many of the newest notifications, and alerts, are looked at."""


@dataclass(frozen=True, slots=True)
class DayOfChannel:
    """What a channel was given in one day, in UTC.

    Attributes:
        day: The day.
        channel: The kind of channel.
        sent: Delivered.
        waiting: Not delivered yet.
        suppressed: Kept and not sent.
        failed: Given up.
    """

    day: date
    channel: str
    sent: int
    waiting: int
    suppressed: int
    failed: int


@dataclass(frozen=True, slots=True)
class NoisyRule:
    """A rule on one job or thing, and how much it made of itself.

    Attributes:
        rule: The rule.
        subject: The job or thing.
        alerts: How often it opened, openings again within the cooldown among them.
        occurrences: How often it was seen.
        notifications: How many messages it made.
    """

    rule: str
    subject: str
    alerts: int
    occurrences: int
    notifications: int


@dataclass(frozen=True, slots=True)
class NotificationFigures:
    """Figures about what was told in the last days.

    Attributes:
        days: By day and channel, the latest day first.
        occurrences: How often something was seen to be wrong.
        messages: How many messages of alerts were not suppressed.
        deduplication_ratio: The share of occurrences that made no message of its own, 0 to 1; None: there was nothing.
        active_cooldowns: Alerts that ended so lately that they would open again.
        noisiest: Rules by their number of messages, the most first.
        median_acknowledge_seconds: How long it took somebody to look after an alert; None: nobody has.
    """

    days: Sequence[DayOfChannel]
    occurrences: int
    messages: int
    deduplication_ratio: float | None
    active_cooldowns: int
    noisiest: Sequence[NoisyRule]
    median_acknowledge_seconds: float | None


def figures(connection: sa.Connection, scope: Scope, *, period: timedelta, cooldown: timedelta) -> NotificationFigures:
    """Return figures about what was told within a period up to now.

    Args:
        connection: Where to read.
        scope: Who asks; what is counted is the platform's.
        period: How far back.
        cooldown: How long an alert that has ended opens again.
    """
    now = present_instant(connection)
    told = connection.execute(_TOLD, {"environment": scope.environment, "since": now - period, "most": _READ}).all()
    seen = connection.execute(_SEEN, {"environment": scope.environment, "since": now - period, "most": _READ}).all()
    messages = sum(1 for row in told if row.alert_id is not None and row.status != "suppressed")
    occurrences = sum(row.occurrences for row in seen)
    waits = [(row.acknowledged_at - row.opened_at).total_seconds() for row in seen if row.acknowledged_at is not None]
    return NotificationFigures(
        days=_by_day(told),
        occurrences=occurrences,
        messages=messages,
        deduplication_ratio=max(0.0, 1 - messages / occurrences) if occurrences else None,
        active_cooldowns=sum(1 for row in seen if row.resolved_at is not None and row.resolved_at > now - cooldown),
        noisiest=_noisiest(told, seen),
        median_acknowledge_seconds=median(waits) if waits else None,
    )


_n = notifications.c
_a = alerts.c
_SINCE: Final[sa.BindParameter[datetime]] = sa.bindparam("since", type_=_n.created_at.type)
_MOST: Final[sa.BindParameter[int]] = sa.bindparam("most", type_=sa.Integer())
_TOLD: Final = (
    sa.select(_n.created_at, _n.channel, _n.status, _n.alert_id)
    .where(
        _n.environment == sa.bindparam("environment"),
        _n.created_at >= _SINCE,
        sa.func.coalesce(_n.route, sa.literal_column("''")) != REVISION,
    )
    .order_by(_n.created_at.desc())
    .limit(_MOST)
)
_SEEN: Final = (
    sa.select(_a.id, _a.kind, _a.subject, _a.occurrences, _a.reopened, _a.opened_at, _a.acknowledged_at, _a.resolved_at)
    .where(_a.environment == sa.bindparam("environment"), _a.opened_at >= _SINCE)
    .order_by(_a.opened_at.desc())
    .limit(_MOST)
)


def _by_day(told: Sequence[Any]) -> list[DayOfChannel]:
    counts: defaultdict[tuple[date, str], defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in told:
        counts[row.created_at.date(), row.channel][row.status] += 1
    return [
        DayOfChannel(day, channel, found["delivered"], found["pending"], found["suppressed"], found["dead"])
        for (day, channel), found in sorted(counts.items(), key=lambda item: (-item[0][0].toordinal(), item[0][1]))
    ]


def _noisiest(told: Sequence[Any], seen: Sequence[Any]) -> list[NoisyRule]:
    sent: defaultdict[Any, int] = defaultdict(int)
    for row in told:
        sent[row.alert_id] += row.status != "suppressed"
    rules: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in seen:
        counted = rules[row.kind, row.subject]
        counted[0] += 1 + row.reopened
        counted[1] += row.occurrences
        counted[2] += sent[row.id]
    noisy = [NoisyRule(rule, subject, *counted) for (rule, subject), counted in rules.items()]
    return sorted(noisy, key=lambda item: (-item.notifications, -item.occurrences, item.rule, item.subject))[:_NOISIEST]
