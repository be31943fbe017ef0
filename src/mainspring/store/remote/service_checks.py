"""Health checks of services: one node at a time has a check, and what it found is kept with since when it is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.write_door import clean_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import chosen
from mainspring.store.remote.services import REACHABLE, UNREACHABLE
from mainspring.store.tables import definitions, services

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_ERROR = 1_000


@dataclass(frozen=True, slots=True)
class DueCheck:
    """A check that a node has taken.

    Attributes:
        name: The service.
        url: Where it is; what is found out about another address later does not count.
        status: What the last check found.
    """

    name: str
    url: str
    status: str


def seconds_to_next(connection: sa.Connection, environment: str) -> float | None:
    """Return how long until a check is due, 0 if one is now; None if none ever is."""
    row = connection.execute(_NEXT, {"environment": environment}).first()
    return None if row is None else max(0.0, (row.check_due_at - row.now).total_seconds())


def take(connection: sa.Connection, environment: str, *, most: int, again_in: float) -> Sequence[DueCheck]:
    """Take checks that are due: moved on in this one statement, no other node finds them due.

    Args:
        connection: Where to run, in a transaction.
        environment: Whose services.
        most: How many.
        again_in: Seconds after which they are due again, whatever becomes of this node.
    """
    values = {"b_environment": environment, "most": most, "seconds": again_in}
    return [DueCheck(row.name, row.url, row.status) for row in connection.execute(_TAKE, values)]


def note(
    connection: sa.Connection, environment: str, check: DueCheck, *, error: str | None, again_in: float | None = None
) -> None:
    """Keep what a check found.

    Args:
        connection: Where to run, in a transaction.
        environment: Whose service.
        check: The check.
        error: Why the service is unreachable; None: it is reachable.
        again_in: Seconds after which it is checked again; None: when it would be anyway.
    """
    status = REACHABLE if error is None else UNREACHABLE
    values = {
        "b_environment": environment,
        "b_name": check.name,
        "b_url": check.url,
        "b_status": status,
        "b_error": None if error is None else clean_text(error, _MAX_ERROR),
    }
    connection.execute(_NOTE, values)
    if again_in is not None:
        connection.execute(_HASTEN, values | {"seconds": again_in})


_SECONDS: sa.BindParameter[float] = sa.bindparam("seconds", type_=sa.Double[float]())
_STATUS = sa.bindparam("b_status", type_=sa.Text())
_HAS_JOBS = sa.exists().where(
    definitions.c.environment == services.c.environment,
    definitions.c.service_name == services.c.name,
    definitions.c.retired_at.is_(None),
)
"""A service that has dropped all its jobs is left in peace, until it registers one again."""
_NEXT = (
    sa.select(services.c.check_due_at, store_now().label("now"))
    .where(services.c.environment == sa.bindparam("environment"), services.c.check_due_at.is_not(None), _HAS_JOBS)
    .order_by(services.c.check_due_at)
    .limit(1)
)
_DUE = (
    sa.select(services.c.name)
    .where(services.c.environment == sa.bindparam("b_environment"), services.c.check_due_at <= store_now(), _HAS_JOBS)
    .order_by(services.c.check_due_at)
    .limit(sa.bindparam("most"))
)
_TAKE = (
    sa.update(services)
    .where(
        services.c.environment == sa.bindparam("b_environment"),
        chosen(services.c.name, _DUE),
        # Asked again of each row once its lock is had: who comes second finds it moved on.
        services.c.check_due_at <= store_now(),
    )
    .values(check_due_at=store_now_plus(_SECONDS))
    .returning(services.c.name, services.c.url, services.c.status)
)
_THE_SERVICE = sa.update(services).where(
    services.c.environment == sa.bindparam("b_environment"),
    services.c.name == sa.bindparam("b_name"),
    services.c.url == sa.bindparam("b_url"),
)
_NOTE = _THE_SERVICE.values(
    status=_STATUS,
    status_since=sa.case((services.c.status != _STATUS, store_now()), else_=services.c.status_since),
    checked_at=store_now(),
    check_error=sa.bindparam("b_error"),
)
_HASTEN = _THE_SERVICE.values(check_due_at=store_now_plus(_SECONDS))
