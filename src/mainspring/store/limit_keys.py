"""Limits of job authors: at most so many executions of one key admitted at once, exact on any number of nodes.

An execution with a limit key waits parked, out of the claims' sight. Whoever makes room (an end, a cancel) or asks for
some (an enqueue, a due retry) admits the next ones under the lock of the key's row, so that claims never have to count.

Locks are taken in one order everywhere: first the executions that end or go back, then the keys; what is admitted under
a key's lock is taken only where nobody else holds it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.execution import Stage
from mainspring.store.lists import chosen, one_of
from mainspring.store.tables import executions_live, limits, organizations

if TYPE_CHECKING:
    from collections.abc import Iterable

_live = executions_live.c
_environment: sa.ColumnElement[str] = sa.bindparam("env", type_=sa.Text())
_key: sa.ColumnElement[str] = sa.bindparam("key", type_=sa.Text())

_LOCK = (
    sa.select(limits.c.key)
    .where(limits.c.environment == _environment, one_of(limits.c.key, "keys"))
    .order_by(limits.c.key)
    .with_for_update(key_share=True)
)
_ADMITTED = sa.select(sa.func.count()).where(
    _live.environment == _environment,
    _live.limit_key == _key,
    _live.stage.in_([sa.literal_column("1"), sa.literal_column("3")]),
)
_PARKED = (
    sa.select()
    .where(_live.environment == _environment, _live.limit_key == _key, _live.stage == sa.literal_column("2"))
    .order_by(_live.priority.desc(), _live.available_at)
)
_LIMIT_OF_FIRST = _PARKED.add_columns(_live.limit_max).limit(1)
_FIRST = _PARKED.add_columns(_live.id).limit(sa.bindparam("room")).with_for_update(skip_locked=True)
_ADMIT = sa.update(executions_live).where(chosen(_live.id, _FIRST)).values(stage=int(Stage.READY))

# The same for all keys in one statement, whose snapshot is newer than the locks.
_ADMIT_ALL = sa.text("""
update mainspring.executions_live e set stage = 1 where e.id = any(array(
    select next.id from unnest(cast(:keys as text[])) k(key)
    cross join lateral (
        select p.limit_max from mainspring.executions_live p
        where p.environment = :env and p.limit_key = k.key and p.stage = 2
        order by p.priority desc, p.available_at limit 1) first
    cross join lateral (
        select count(*) as admitted from mainspring.executions_live a
        where a.environment = :env and a.limit_key = k.key and a.stage in (1, 3) and a.limit_key is not null) now
    cross join lateral (
        select p.id from mainspring.executions_live p
        where p.environment = :env and p.limit_key = k.key and p.stage = 2
        order by p.priority desc, p.available_at
        limit greatest(0, first.limit_max - now.admitted) for update skip locked) next))
""")


def admit(connection: sa.Connection, environment: str, keys: Iterable[str]) -> int:
    """Make parked executions ready as far as their keys have room, and return how many."""
    ordered = sorted(set(keys))
    if not ordered:
        return 0
    _lock(connection, environment, ordered)
    if connection.dialect.name == "postgresql":
        return connection.execute(_ADMIT_ALL, {"env": environment, "keys": ordered}).rowcount
    return sum(_admit_one(connection, environment, key) for key in ordered)


def admit_each(connection: sa.Connection, keys: Iterable[tuple[str, str | None]]) -> None:
    """Do so for keys of several environments; what has no key is passed over."""
    by_environment: defaultdict[str, list[str]] = defaultdict(list)
    for environment, key in keys:
        if key is not None:
            by_environment[environment].append(key)
    for environment in sorted(by_environment):
        admit(connection, environment, by_environment[environment])


def _lock(connection: sa.Connection, environment: str, ordered: list[str]) -> None:
    names = {"env": environment, "keys": ordered}
    if len(connection.execute(_LOCK, names).all()) < len(ordered):
        insert_missing(connection, limits, [{"environment": environment, "key": key} for key in ordered])
        connection.execute(_LOCK, names)


def _admit_one(connection: sa.Connection, environment: str, key: str) -> int:
    names = {"env": environment, "key": key}
    limit = connection.execute(_LIMIT_OF_FIRST, names).scalar()
    if limit is None:
        return 0
    room = limit - connection.execute(_ADMITTED, names).scalar_one()
    return connection.execute(_ADMIT, names | {"room": room}).rowcount if room > 0 else 0


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
