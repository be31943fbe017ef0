"""Alerts: one row from the first breach to its end, however often it is seen in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.alert import Alert, AlertRule, AlertState, Severity
from mainspring.domain.job_object import instant_text
from mainspring.domain.write_door import clean_text, json_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import alerts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.alert import Breach

ALERTS: Final = "alerts"
"""The topic of signals that tell of changed alerts."""
_MAX_SENTENCE: Final = 2_000

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


# What the monitor writes ----------------------------------------------------------------------------------------------

_SINCE: Final[sa.ColumnElement[float]] = sa.bindparam("b_since", type_=sa.Double())
# Locked, so that of two monitors the later one sees what the earlier one has written.
_CURRENT: Final = (
    sa.select(*ALERT_COLUMNS)
    .where(
        _IN_ENVIRONMENT,
        one_of(_c.deduplication_key, "b_keys"),
        sa.or_(_IS_OPEN, _c.resolved_at > store_now_plus(_SINCE)),
    )
    .order_by(_c.opened_at, _c.id)
    .with_for_update()
)


def current(
    connection: sa.Connection, environment: str, keys: Collection[str], *, cooldown_seconds: float
) -> dict[str, Alert]:
    """Return the alert of each key that is open, or was until less than the cooldown ago; locked.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        keys: Deduplication keys.
        cooldown_seconds: How long an alert that has ended opens again instead of a new one.
    """
    if not keys:
        return {}
    rows = connection.execute(
        _CURRENT, {"b_environment": environment, "b_keys": sorted(keys), "b_since": -cooldown_seconds}
    )
    return {row.deduplication_key: alert_of(row) for row in rows}


_SEEN: Final[Mapping[str, Any]] = {
    "severity": sa.bindparam("b_severity", type_=sa.Text()),
    "sentence": sa.bindparam("b_sentence", type_=sa.Text()),
    "details": sa.bindparam("b_details", type_=sa.Text()),
    "execution_id": sa.func.coalesce(sa.bindparam("b_execution", type_=_c.execution_id.type), _c.execution_id),
    "fingerprint": sa.func.coalesce(sa.bindparam("b_fingerprint", type_=sa.Text()), _c.fingerprint),
    "last_seen_at": store_now(),
}
_MORE: Final = sa.bindparam("b_occurrences", type_=sa.Integer())
_ID: Final = _c.id == sa.bindparam("b_id", type_=_c.id.type)
_COUNT: Final = sa.update(alerts).where(_ID).values(occurrences=_c.occurrences + _MORE, **_SEEN)
_REOPEN: Final = (
    sa.update(alerts)
    .where(_ID)
    .values(
        occurrences=_c.occurrences + _MORE,
        reopened=_c.reopened + 1,
        resolved_at=None,
        resolved_by=None,
        acknowledged_at=None,
        acknowledged_by=None,
        next_step_at=None,
        escalation=0,
        held_by=None,
        **_SEEN,
    )
)
_NEW: Final = {"opened_at": store_now(), "last_seen_at": store_now()}
_OPEN_POSTGRESQL: Final = postgresql.insert(alerts).values(_NEW).on_conflict_do_nothing()
_OPEN_SQLITE: Final = sqlite.insert(alerts).values(_NEW).on_conflict_do_nothing()


def open_new(connection: sa.Connection, environment: str, breaches: Mapping[UUID, Breach]) -> None:
    """Open alerts under these ids; where another monitor opened one of the same key just now, that one stays."""
    if not breaches:
        return
    rows = [
        {
            "id": alert_id,
            "environment": environment,
            "deduplication_key": breach.deduplication_key,
            "kind": breach.rule.value,
            "subject": breach.subject,
            "job_name": breach.job_name,
            "severity": breach.severity.value,
            "sentence": clean_text(breach.sentence, _MAX_SENTENCE),
            "details": _figures_text(breach),
            "occurrences": max(breach.occurrences, 1),
            "execution_id": breach.execution_id,
            "fingerprint": breach.fingerprint,
        }
        for alert_id, breach in breaches.items()
    ]
    connection.execute(_OPEN_POSTGRESQL if connection.dialect.name == "postgresql" else _OPEN_SQLITE, rows)


def count(connection: sa.Connection, seen: Mapping[UUID, Breach], severities: Mapping[UUID, Severity]) -> None:
    """Add what was seen of open alerts; an alert keeps the worst of its severities."""
    if seen:
        connection.execute(_COUNT, [_seen(alert_id, breach, severities[alert_id]) for alert_id, breach in seen.items()])


def reopen(connection: sa.Connection, seen: Mapping[UUID, Breach]) -> None:
    """Open alerts again that ended within their cooldown."""
    if seen:
        connection.execute(_REOPEN, [_seen(alert_id, breach, breach.severity) for alert_id, breach in seen.items()])


def _seen(alert_id: UUID, breach: Breach, severity: Severity) -> dict[str, Any]:
    return {
        "b_id": alert_id,
        "b_occurrences": breach.occurrences,
        "b_severity": severity.value,
        "b_sentence": clean_text(breach.sentence, _MAX_SENTENCE),
        "b_details": _figures_text(breach),
        "b_execution": breach.execution_id,
        "b_fingerprint": breach.fingerprint,
    }


def _figures_text(breach: Breach) -> str:
    figures = breach.figures.items()
    return json_text({name: instant_text(value) if isinstance(value, datetime) else value for name, value in figures})


_RESOLVE: Final = (
    sa.update(alerts)
    .where(_ID, _IS_OPEN)
    .values(
        resolved_at=store_now(),
        resolved_by=sa.bindparam("b_actor", type_=sa.Text()),
        snoozed_until=None,
        next_step_at=None,
        held_by=None,
    )
)


def resolve(connection: sa.Connection, ids: Collection[UUID], *, actor: str | None = None) -> None:
    """End alerts: they have recovered, or somebody says that they are over."""
    if ids:
        connection.execute(_RESOLVE, [{"b_id": alert_id, "b_actor": actor} for alert_id in ids])


@dataclass(frozen=True, slots=True)
class Told:
    """What was decided about telling an alert.

    Attributes:
        id: The alert.
        is_told: Whether people know that it is open from now on; None: as before.
        held_by: Why nobody is told.
        next_step_in: Seconds until its next step; None: there is none.
        escalation: Steps of its escalation that have been told.
    """

    id: UUID
    is_told: bool | None
    held_by: str | None
    next_step_in: float | None
    escalation: int


_TELLING: Final = sa.bindparam("b_telling", type_=sa.Text())
_TOLD: Final = (
    sa.update(alerts)
    .where(_ID)
    .values(
        told_at=sa.case(
            (sa.literal_column("'yes'") == _TELLING, store_now()),
            (sa.literal_column("'no'") == _TELLING, sa.null()),
            else_=_c.told_at,
        ),
        held_by=sa.bindparam("b_held_by", type_=sa.Text()),
        next_step_at=store_now_plus(sa.bindparam("b_in", type_=sa.Double())),
        escalation=sa.bindparam("b_escalation", type_=sa.Integer()),
    )
)
_TELLING_WORDS: Final[Mapping[bool | None, str]] = {True: "yes", False: "no", None: "as before"}


def write_told(connection: sa.Connection, told: Sequence[Told]) -> None:
    """Write down what people were told."""
    rows = [
        {
            "b_id": item.id,
            "b_telling": _TELLING_WORDS[item.is_told],
            "b_held_by": item.held_by,
            "b_in": item.next_step_in,
            "b_escalation": item.escalation,
        }
        for item in told
    ]
    if rows:
        connection.execute(_TOLD, rows)


# What people do -------------------------------------------------------------------------------------------------------

_ACKNOWLEDGE: Final = (
    sa.update(alerts)
    .where(_ID, _IS_OPEN)
    .values(
        acknowledged_at=sa.func.coalesce(_c.acknowledged_at, store_now()),
        acknowledged_by=sa.func.coalesce(_c.acknowledged_by, sa.bindparam("b_actor", type_=sa.Text())),
        snoozed_until=None,
        next_step_at=None,
    )
)
_SNOOZE: Final = (
    sa.update(alerts)
    .where(_ID, _IS_OPEN)
    .values(snoozed_until=sa.bindparam("b_until", type_=_c.snoozed_until.type), told_at=None, next_step_at=None)
)


def acknowledge(connection: sa.Connection, alert_id: UUID, actor: str) -> None:
    """Note who looks after an open alert; the first one to say so stays."""
    connection.execute(_ACKNOWLEDGE, {"b_id": alert_id, "b_actor": actor})


def snooze(connection: sa.Connection, alert_id: UUID, until: datetime) -> None:
    """Let nobody be told of an open alert until an instant; if it is still open then, it is told anew."""
    connection.execute(_SNOOZE, {"b_id": alert_id, "b_until": until})


# What is read ---------------------------------------------------------------------------------------------------------

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


_UNTAKEN: Final = sa.select(sa.func.count()).where(
    _IN_ENVIRONMENT, _c.resolved_at.is_(None), _c.acknowledged_at.is_(None)
)


def count_untaken(connection: sa.Connection, environment: str) -> int:
    """Return how many alerts are open that nobody has acknowledged."""
    return connection.execute(_UNTAKEN, {"b_environment": environment}).scalar_one()


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
