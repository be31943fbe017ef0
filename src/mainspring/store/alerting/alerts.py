"""Alerts: one row from the first breach to its end, however often it is seen in between; how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.alert import Alert, AlertRule, AlertState, Severity
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import alerts

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.domain.access import Scope

ALERTS: Final = "alerts"
"""The topic of signals that tell of changed alerts."""

_c = alerts.c
_IN_ENVIRONMENT: Final = _c.environment == sa.bindparam("b_environment")
_IS_OPEN: Final = _c.resolved_at.is_(None)
STATE: Final[sa.ColumnElement[str]] = sa.case(
    (_c.resolved_at.is_not(None), sa.literal_column("'resolved'", sa.Text())),
    (sa.func.coalesce(_c.snoozed_until > store_now(), sa.false()), sa.literal_column("'snoozed'", sa.Text())),
    (_c.acknowledged_at.is_not(None), sa.literal_column("'acknowledged'", sa.Text())),
    else_=sa.literal_column("'open'", sa.Text()),
)
"""A snooze ends by itself: nobody has to write that down."""
ALERT_COLUMNS: Final = (*alerts.c, STATE.label("state"))


def alert_of(row: Any) -> Alert:  # noqa: ANN401 - a row of either driver
    """Return what a row of `ALERT_COLUMNS` says."""
    return Alert(
        id=row.id,
        environment=row.environment,
        rule=AlertRule(row.kind),
        subject=row.subject,
        job_name=row.job_name,
        severity=Severity(row.severity),
        state=AlertState(row.state),
        sentence=row.sentence,
        figures=orjson.loads(row.details or "{}"),
        occurrences=row.occurrences,
        execution_id=row.execution_id,
        fingerprint=row.fingerprint,
        opened_at=row.opened_at,
        last_seen_at=row.last_seen_at,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        snoozed_until=row.snoozed_until,
        reopened=row.reopened,
        escalation=row.escalation,
        next_step_at=row.next_step_at,
        told_at=row.told_at,
        held_by=row.held_by,
    )


_BY_ID: Final = sa.select(*ALERT_COLUMNS).where(_IN_ENVIRONMENT, one_of(_c.id, "b_ids")).order_by(_c.opened_at, _c.id)
# Told of nothing yet, held back, or with a step that is due; what is well and known to be well needs nothing.
_NEEDING: Final = (
    sa.select(*ALERT_COLUMNS)
    .where(
        _IN_ENVIRONMENT,
        sa.or_(
            sa.and_(_IS_OPEN, _c.told_at.is_(None)),
            _c.next_step_at <= store_now(),
        ),
    )
    .order_by(_c.opened_at, _c.id)
)
_OPEN: Final = sa.select(*ALERT_COLUMNS).where(_IN_ENVIRONMENT, _IS_OPEN).order_by(_c.opened_at, _c.id)


def get_each(connection: sa.Connection, environment: str, ids: Collection[UUID]) -> list[Alert]:
    """Return alerts by their ids, those that opened first in front."""
    if not ids:
        return []
    rows = connection.execute(_BY_ID, {"b_environment": environment, "b_ids": list(ids)})
    return [alert_of(row) for row in rows]


def get(connection: sa.Connection, scope: Scope, alert_id: UUID) -> Alert | None:
    """Return an alert; alerts are the platform's, and a scope of an organization sees none."""
    if scope.organization_id is not None:
        return None
    return next(iter(get_each(connection, scope.environment, [alert_id])), None)


def get_locked(connection: sa.Connection, scope: Scope, alert_id: UUID) -> Alert | None:
    """Return an alert that nobody else changes until the transaction ends."""
    if scope.organization_id is not None:
        return None
    wanted = {"b_environment": scope.environment, "b_ids": [alert_id]}
    row = connection.execute(_BY_ID.with_for_update(), wanted).first()
    return None if row is None else alert_of(row)


def needing_a_word(connection: sa.Connection, environment: str) -> list[Alert]:
    """Return alerts of which something may have to be told, although nothing has happened to them in this turn."""
    return [alert_of(row) for row in connection.execute(_NEEDING, {"b_environment": environment})]


def all_open(connection: sa.Connection, environment: str) -> list[Alert]:
    """Return all alerts that are not resolved, those that opened first in front."""
    return [alert_of(row) for row in connection.execute(_OPEN, {"b_environment": environment})]


@dataclass(frozen=True, slots=True)
class Untaken:
    """How many alerts are open that nobody has acknowledged.

    Attributes:
        all: Of whatever severity.
        critical: The critical ones among them.
    """

    all: int = 0
    critical: int = 0


_UNTAKEN: Final = sa.select(sa.func.count(), sa.func.count(sa.case((_c.severity == Severity.CRITICAL.value, 1)))).where(
    _IN_ENVIRONMENT, _c.resolved_at.is_(None), _c.acknowledged_at.is_(None)
)


def count_untaken(connection: sa.Connection, environment: str) -> Untaken:
    """Return how many alerts are open that nobody has acknowledged."""
    return Untaken(*connection.execute(_UNTAKEN, {"b_environment": environment}).one())


_MET: Final = (
    sa.select(*ALERT_COLUMNS)
    .where(
        _IN_ENVIRONMENT,
        _c.opened_at <= sa.bindparam("b_to", type_=_c.opened_at.type),
        sa.func.coalesce(_c.resolved_at >= sa.bindparam("b_from", type_=_c.opened_at.type), sa.true()),
    )
    .order_by(_c.opened_at, _c.id)
    .limit(1_000)
)


def open_between(connection: sa.Connection, environment: str, start: datetime, end: datetime) -> list[Alert]:
    """Return the alerts that were open at some time between two instants, at most 1,000."""
    rows = connection.execute(_MET, {"b_environment": environment, "b_from": start, "b_to": end})
    return [alert_of(row) for row in rows]


def prune(connection: sa.Connection, environment: str, *, older_than: timedelta, most: int = 1_000) -> int:
    """Remove alerts that ended longer ago than this, at most so many, and return how many were."""
    horizon = store_now_plus(sa.literal(-older_than.total_seconds(), sa.Double()))
    old = sa.select(_c.id).where(_c.environment == environment, _c.resolved_at < horizon).limit(most)
    return connection.execute(sa.delete(alerts).where(_c.id.in_(old))).rowcount
