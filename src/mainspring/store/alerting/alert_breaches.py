"""What breaches make of alerts: a new one, one that opens again, or more of the same."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.instants import instant_text
from mainspring.domain.write_door import clean_text, json_text
from mainspring.store.alerting.alerts import ALERT_COLUMNS, alert_of
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import alerts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from mainspring.domain.alert import Alert, Breach, Severity

_MAX_SENTENCE: Final = 2_000

_c = alerts.c
_ID: Final = _c.id == sa.bindparam("b_id", type_=_c.id.type)

_SINCE: Final[sa.ColumnElement[float]] = sa.bindparam("b_since", type_=sa.Double())
# Locked, so that of two monitors the later one sees what the earlier one has written.
_CURRENT: Final = (
    sa.select(*ALERT_COLUMNS)
    .where(
        _c.environment == sa.bindparam("b_environment"),
        one_of(_c.deduplication_key, "b_keys"),
        sa.or_(_c.resolved_at.is_(None), _c.resolved_at > store_now_plus(_SINCE)),
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
