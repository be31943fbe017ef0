"""Limits of job authors: at most so many executions of one key admitted at once, exact on any number of nodes.

An execution with a limit key waits parked, out of the claims' sight. Whoever makes room (an end, a cancel) or asks for
some (an enqueue, a due retry) admits the next ones under the lock of the key's row, so that claims never have to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.execution import Stage
from mainspring.store.tables import executions_live, limits, organizations

if TYPE_CHECKING:
    from collections.abc import Iterable

_live = executions_live.c
_environment = sa.bindparam("env")
_key = sa.bindparam("key")

_LOCK = (
    sa.select(limits.c.key)
    .where(limits.c.environment == _environment, limits.c.key.in_(sa.bindparam("keys", expanding=True)))
    .order_by(limits.c.key)
    .with_for_update(key_share=True)
)
_ADMITTED = sa.select(sa.func.count()).where(
    _live.environment == _environment,
    _live.limit_key == _key,
    _live.stage.in_([sa.literal_column("1"), sa.literal_column("3")]),
)
_FIRST_PARKED = (
    sa.select(_live.limit_max)
    .where(_live.environment == _environment, _live.limit_key == _key, _live.stage == sa.literal_column("2"))
    .order_by(_live.priority.desc(), _live.available_at)
    .limit(1)
)
_NEXT = (
    sa.select(_live.id)
    .where(_live.environment == _environment, _live.limit_key == _key, _live.stage == sa.literal_column("2"))
    .order_by(_live.priority.desc(), _live.available_at)
    .limit(sa.bindparam("room"))
    .with_for_update(skip_locked=True)
    .cte("next")
)
_ADMIT = sa.update(executions_live).where(_live.id.in_(sa.select(_NEXT.c.id))).values(stage=int(Stage.READY))


def lock(connection: sa.Connection, environment: str, keys: Iterable[str]) -> list[str]:
    """Lock the rows of the keys, in the one order that everybody uses, and return the keys in it."""
    ordered = sorted(set(keys))
    if ordered:
        insert_missing(connection, limits, [{"environment": environment, "key": key} for key in ordered])
        connection.execute(_LOCK, {"env": environment, "keys": ordered})
    return ordered


def admit(connection: sa.Connection, environment: str, keys: Iterable[str]) -> int:
    """Make parked executions ready as far as their keys have room, and return how many."""
    admitted = 0
    for key in lock(connection, environment, keys):
        names = {"env": environment, "key": key}
        limit = connection.execute(_FIRST_PARKED, names).scalar()
        if limit is None:
            continue
        room = limit - connection.execute(_ADMITTED, names).scalar_one()
        if room > 0:
            admitted += connection.execute(_ADMIT, names | {"room": room}).rowcount
    return admitted


def ensure_organizations(connection: sa.Connection, environment: str, names: Iterable[str]) -> None:
    """Make the rows under whose lock organizations' executions are claimed.

    Call it in a short transaction of its own: an insert in a long one would block everybody who enqueues for the same
    new organization.
    """
    rows = [{"environment": environment, "id": name} for name in sorted(set(names))]
    if rows:
        insert_missing(connection, organizations, rows)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: list[dict[str, str]]) -> None:
    """Insert the rows that are not there yet."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)
