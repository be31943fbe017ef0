"""Organizations (tenants): the rows under whose locks their executions are claimed, at most so many of each at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.errors import MainspringError
from mainspring.store.queue.limit_keys import insert_missing
from mainspring.store.tables import executions_live, organizations

if TYPE_CHECKING:
    from collections.abc import Iterable

_live = executions_live.c


class UnknownOrganizationError(MainspringError):
    """No organization of that name has asked for anything yet."""

    code = "ORGANIZATION_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Organization:
    """How an organization stands.

    Attributes:
        name: What it is called.
        max_running: How many of its executions may run at once; None: as many as the settings say.
        running: How many do.
        waiting: How many have not ended and do not run.
    """

    name: str
    max_running: int | None
    running: int
    waiting: int


def ensure(connection: sa.Connection, environment: str, names: Iterable[str]) -> None:
    """Make the rows under whose lock organizations' executions are claimed.

    Call it in a short transaction of its own: an insert in a long one would block everybody who enqueues for the same
    new organization.
    """
    rows = [{"environment": environment, "id": name} for name in sorted(set(names))]
    if rows:
        insert_missing(connection, organizations, rows)


_ENVIRONMENT: Final = sa.bindparam("b_environment", type_=sa.Text())
_NAME: Final = sa.bindparam("b_name", type_=sa.Text())
_RUNNING: Final = sa.func.sum(sa.case((_live.stage == sa.literal_column("3"), 1), else_=0))
# One walk through all that lives: an index holds the rows of organizations together.
_COUNTED: Final = (
    sa.select(_live.organization_id, _RUNNING.label("running"), sa.func.count().label("alive"))
    .where(_live.environment == _ENVIRONMENT, _live.organization_id.is_not(None))
    .group_by(_live.organization_id)
    .subquery()
)
_STANDING: Final = (
    sa.select(
        organizations.c.id,
        organizations.c.max_running,
        sa.func.coalesce(_COUNTED.c.running, 0).label("running"),
        sa.func.coalesce(_COUNTED.c.alive - _COUNTED.c.running, 0).label("waiting"),
    )
    .outerjoin(_COUNTED, _COUNTED.c.organization_id == organizations.c.id)
    .where(organizations.c.environment == _ENVIRONMENT)
    .order_by(organizations.c.id)
)


def find(connection: sa.Connection, environment: str, *, most: int = 10_000) -> list[Organization]:
    """Return the organizations that have ever asked for something, or were given a limit, by name."""
    rows = connection.execute(_STANDING.limit(most), {"b_environment": environment})
    return [_organization(row) for row in rows]


_ONE: Final = _STANDING.where(organizations.c.id == _NAME)


def get(connection: sa.Connection, environment: str, name: str) -> Organization:
    """Return how one organization stands.

    Raises:
        UnknownOrganizationError: It has neither asked for anything nor been given a limit.
    """
    row = connection.execute(_ONE, {"b_environment": environment, "b_name": name}).first()
    if row is None:
        raise UnknownOrganizationError(
            f"no organization {name!r} has asked for a job or was given a limit: `mainspring organizations list` shows "
            "those that have"
        )
    return _organization(row)


_LIMIT: Final = (
    sa.select(organizations.c.max_running)
    .where(organizations.c.environment == _ENVIRONMENT, organizations.c.id == _NAME)
    .with_for_update(key_share=True)
)
_SET_LIMIT: Final = (
    sa.update(organizations)
    .where(organizations.c.environment == _ENVIRONMENT, organizations.c.id == _NAME)
    .values(max_running=sa.bindparam("b_max_running", type_=sa.Integer()))
)


def set_limit(connection: sa.Connection, environment: str, name: str, max_running: int | None) -> int | None:
    """Say how many executions of an organization may run at once, and return what was said before.

    Every claim reads the row, which is its lock, so that the next one goes by it on any node. What runs goes on.

    Args:
        connection: Where to run.
        environment: The environment.
        name: The organization, known or not.
        max_running: At least 0; None: as many as the settings say.
    """
    ensure(connection, environment, [name])
    names = {"b_environment": environment, "b_name": name}
    before = connection.execute(_LIMIT, names).scalar_one()
    connection.execute(_SET_LIMIT, names | {"b_max_running": max_running})
    return before


def _organization(row: Any) -> Organization:  # noqa: ANN401 - a row of either driver
    return Organization(row.id, row.max_running, int(row.running), int(row.waiting))
