"""Services whose jobs are run over HTTP: what they registered, how healthy they are, what they have dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.breaker import BreakerState
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import definitions, services

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

UNKNOWN: Final = "unknown"
REACHABLE: Final = "reachable"
UNREACHABLE: Final = "unreachable"

UNDECLARED: Final = "undeclared"
"""Why a job is orphaned: its service has listed its jobs without it."""
CALLBACK_MISSING: Final = "callback_missing"
"""Why a job is orphaned: its service was called, and answered that it knows no such job."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service, as the store keeps it.

    Attributes:
        url: Where it registered to be called.
        key_id: The API key that it registered with; its signing secret signs calls.
        status: What the last health check found: `unknown`, `reachable` or `unreachable`, since `status_since`.
        checked_at: When that was.
        check_error: Why it was unreachable.
        breaker_state: `closed`, `open` or `half_open`; open until `breaker_until`.
        consecutive_failures: Calls of jobs that failed since the last one that did not.
        last_error: What went wrong with the last of them.
        code_version: The version that last listed its jobs.
        registered_at: When it last registered a job.
    """

    environment: str
    name: str
    url: str
    key_id: UUID | None
    status: str
    status_since: datetime | None
    checked_at: datetime | None
    check_error: str | None
    breaker_state: str
    breaker_until: datetime | None
    consecutive_failures: int
    last_error: str | None
    code_version: str | None
    registered_at: datetime | None
    created_at: datetime
    updated_at: datetime


def get(connection: sa.Connection, environment: str, name: str) -> Service | None:
    """Return a service."""
    row = connection.execute(_GET, {"environment": environment, "name": name}).first()
    return None if row is None else _service(row)


def all_of(connection: sa.Connection, environment: str) -> list[Service]:
    """Return the services of an environment, by name."""
    return [_service(row) for row in connection.execute(_ALL, {"environment": environment})]


def lock(connection: sa.Connection, environment: str, name: str) -> Service | None:
    """Return a service under the lock of its row."""
    row = connection.execute(_LOCK, {"environment": environment, "name": name}).first()
    return None if row is None else _service(row)


def enter(connection: sa.Connection, environment: str, name: str, url: str) -> Service:
    """Return a service under the lock of its row; one that is new is entered first, and checked at once.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        name: The service.
        url: Where a new one is to be called.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(services).values(
        environment=environment,
        name=name,
        url=url,
        status=UNKNOWN,
        check_due_at=store_now(),
        created_at=store_now(),
        updated_at=store_now(),
    )
    connection.execute(new.on_conflict_do_nothing())
    return _service(connection.execute(_LOCK, {"environment": environment, "name": name}).one())


def register(connection: sa.Connection, environment: str, name: str, *, url: str, key_id: UUID) -> None:
    """Keep where a service is to be called, and by which key.

    One that has moved is checked at once. One that was left alone, because calls did not get through, is probed with
    the next claim: who registers is there again.
    """
    values = {"b_environment": environment, "b_name": name, "b_url": url, "b_key_id": key_id}
    connection.execute(_REGISTER, values)


def note_list(connection: sa.Connection, environment: str, name: str, code_version: str | None) -> None:
    """Keep which version of a service has listed its jobs."""
    values = {"b_environment": environment, "b_name": name, "b_code_version": code_version}
    connection.execute(_NOTE_LIST, values)


def lost_callback(connection: sa.Connection, environment: str, job_name: str) -> bool:
    """Mark a job as orphaned: its service answered that it knows no such job. Return whether that is news."""
    values = {"b_environment": environment, "b_name": job_name}
    return connection.execute(_LOST_CALLBACK, values).rowcount > 0


def found_callback(connection: sa.Connection, environment: str, job_name: str) -> bool:
    """Take the mark of `lost_callback` away: its service answered. Return whether there was one."""
    values = {"b_environment": environment, "b_name": job_name}
    return connection.execute(_FOUND_CALLBACK, values).rowcount > 0


_ALL = sa.select(services).where(services.c.environment == sa.bindparam("environment")).order_by(services.c.name)
_GET = _ALL.where(services.c.name == sa.bindparam("name"))
_LOCK = _GET.with_for_update()
_THE_SERVICE = sa.update(services).where(
    services.c.environment == sa.bindparam("b_environment"), services.c.name == sa.bindparam("b_name")
)
_NOTE_LIST = _THE_SERVICE.values(code_version=sa.bindparam("b_code_version"))
_URL = sa.bindparam("b_url", type_=sa.Text())
_REGISTER = _THE_SERVICE.values(
    url=_URL,
    key_id=sa.bindparam("b_key_id"),
    registered_at=store_now(),
    updated_at=store_now(),
    check_due_at=sa.case((services.c.url != _URL, store_now()), else_=services.c.check_due_at),
    breaker_until=sa.case(
        (services.c.breaker_state == BreakerState.OPEN.value, store_now()), else_=services.c.breaker_until
    ),
)
_NAMED = (
    sa.update(definitions)
    .where(definitions.c.environment == sa.bindparam("b_environment"), definitions.c.name == sa.bindparam("b_name"))
    .values(updated_at=store_now())
)
_LOST_CALLBACK = _NAMED.where(definitions.c.service_name.is_not(None), definitions.c.orphaned_at.is_(None)).values(
    orphaned_at=store_now(), orphaned_reason=CALLBACK_MISSING
)
_FOUND_CALLBACK = _NAMED.where(definitions.c.orphaned_reason == CALLBACK_MISSING).values(
    orphaned_at=None, orphaned_reason=None
)


def _service(row: Any) -> Service:  # noqa: ANN401 - a row of either driver
    return Service(
        environment=row.environment,
        name=row.name,
        url=row.url,
        key_id=row.key_id,
        status=row.status,
        status_since=row.status_since,
        checked_at=row.checked_at,
        check_error=row.check_error,
        breaker_state=row.breaker_state,
        breaker_until=row.breaker_until,
        consecutive_failures=row.consecutive_failures,
        last_error=row.last_error,
        code_version=row.code_version,
        registered_at=row.registered_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
