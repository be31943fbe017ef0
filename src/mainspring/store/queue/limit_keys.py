"""Limits of job authors: at most so many executions of one key admitted at once, exact on any number of nodes.

An execution with a limit key waits parked, out of the claims' sight. Whoever makes room (an end, a cancel) or asks for
some (an enqueue, a due retry) admits the next ones under the lock of the key's row, so that claims never have to count.
Where the key has a rate as well, what it may not yet let through is admitted by the node that looks when it opens.

Locks are taken in one order everywhere: first the executions that end or go back, then the keys; what is admitted under
a key's lock is taken only where nobody else holds it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.store.engine.dialect import store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import parked, rates
from mainspring.store.queue.parked import ENVIRONMENT, admitted_under, parked_under
from mainspring.store.tables import executions_live, limits
from mainspring.store.tables.urgency import POSTGRESQL_URGENCY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mainspring.domain.rate import Rate
    from mainspring.store.queue.enqueues import NewExecution

_WITHOUT_LIMIT: Final = 2**31 - 1
_REMEMBERED: Final = 86_400.0
"""Seconds for which a rate is kept that no longer holds anything back: a manual retry goes by it, too."""
_live = executions_live.c
_key: sa.ColumnElement[str] = sa.bindparam("key", type_=sa.Text())

_LOCK = (
    sa.select(limits.c.key, limits.c.rate_count, limits.c.rate_seconds)
    .where(limits.c.environment == ENVIRONMENT, one_of(limits.c.key, "keys"))
    .order_by(limits.c.key)
    .with_for_update(key_share=True)
)
_ADMITTED = sa.select(sa.func.count()).where(admitted_under(_key))
_FIRST = sa.select(parked.ROOM_LIMIT).where(parked_under(_key)).order_by(parked.MOST_URGENT_FIRST).limit(1)

# The same for all keys in one statement, whose snapshot is newer than the locks.
_ADMIT_ALL = sa.text(f"""
update mainspring.executions_live e set stage = 1 where e.id = any(array(
    select next.id from unnest(cast(:keys as text[])) k(key)
    cross join lateral (
        select case when exists (
            select from mainspring.breakers b
            where b.environment = p.environment and b.job_name = p.job_name and b.state <> 'closed')
        then 0 else p.limit_max end as limit_max from mainspring.executions_live p
        where p.environment = :env and p.limit_key = k.key and p.stage = 2
        order by {POSTGRESQL_URGENCY} limit 1) first
    cross join lateral (
        select count(*) as admitted from mainspring.executions_live a
        where a.environment = :env and a.limit_key = k.key and a.stage in (1, 3) and a.limit_key is not null) now
    cross join lateral (
        select p.id from mainspring.executions_live p
        where p.environment = :env and p.limit_key = k.key and p.stage = 2
        order by {POSTGRESQL_URGENCY}
        limit case when first.limit_max is not null then greatest(0, first.limit_max - now.admitted) end
        for update skip locked) next))
""")  # noqa: S608 - only a constant is put in


def admit(
    connection: sa.Connection, environment: str, keys: Iterable[str], declared: Mapping[str, Rate | None] | None = None
) -> int:
    """Make parked executions ready as far as their keys have room, and return how many.

    Args:
        connection: Where to run.
        environment: The environment of the keys.
        keys: Which keys to look at.
        declared: What code says now about the rates of some of them; those of the others stay as they are.
    """
    ordered = sorted(set(keys))
    if not ordered:
        return 0
    rated = _lock(connection, environment, ordered, declared or {})
    admitted = rates.admit(connection, environment, rated) if rated else 0
    others = [key for key in ordered if key not in rated]
    if not others:
        return admitted
    if connection.dialect.name == "postgresql":
        return admitted + connection.execute(_ADMIT_ALL, {"env": environment, "keys": others}).rowcount
    return admitted + sum(_admit_one(connection, environment, key) for key in others)


def admit_each(connection: sa.Connection, keys: Iterable[tuple[str, str | None]]) -> None:
    """Do so for keys of several environments; what has no key is passed over."""
    by_environment: defaultdict[str, list[str]] = defaultdict(list)
    for environment, key in keys:
        if key is not None:
            by_environment[environment].append(key)
    for environment in sorted(by_environment):
        admit(connection, environment, by_environment[environment])


def room_of(connection: sa.Connection, environment: str, key: str, limit_max: int | None) -> int:
    """Return how many more a key has room for, under the lock of its row.

    Args:
        connection: Where to run.
        environment: The environment of the key.
        key: The key.
        limit_max: How many may be admitted at once; None: any number.
    """
    _lock(connection, environment, [key], {})
    if limit_max is None:
        return _WITHOUT_LIMIT
    return limit_max - connection.execute(_ADMITTED, {"env": environment, "key": key}).scalar_one()


def admit_new(connection: sa.Connection, new: Iterable[NewExecution]) -> None:
    """Do so for the keys of executions that were just accepted, by the rates that come with them."""
    for environment, declared in _declared_by(new):
        admit(connection, environment, declared, declared)


def declare(connection: sa.Connection, new: Iterable[NewExecution]) -> None:
    """Keep the rates that come with executions which somebody else will admit."""
    for environment, declared in _declared_by(item for item in new if item.rate is not None):
        _lock(connection, environment, sorted(declared), declared)


_IN_USE = sa.select(_live.limit_key).where(_live.environment == ENVIRONMENT, _live.limit_key.is_not(None))
_IS_FORGIVEN = sa.and_(
    limits.c.environment == ENVIRONMENT,
    limits.c.open_at.is_(None),
    sa.func.coalesce(limits.c.rate_arrival < store_now_plus(sa.literal(-_REMEMBERED, sa.Double())), sa.true()),
)
# As sets and not row by row: both databases then go through what lives once, whatever its indexes.
_IDLE = sa.except_(sa.select(limits.c.key).where(_IS_FORGIVEN), _IN_USE).limit(sa.bindparam("most"))
_LOCK_FREE = (
    sa.select(limits.c.key)
    .where(limits.c.environment == ENVIRONMENT, one_of(limits.c.key, "keys"))
    .order_by(limits.c.key)
    .with_for_update(skip_locked=True)
)
_REMOVE_IDLE = sa.delete(limits).where(
    _IS_FORGIVEN,
    one_of(limits.c.key, "keys"),
    limits.c.key.not_in(_IN_USE.where(one_of(_live.limit_key, "keys"))),
)


def idle(connection: sa.Connection, environment: str, most: int = 1_000) -> list[str]:
    """Return keys that nothing alive has, and whose rate has been forgiven for a day."""
    return list(connection.execute(_IDLE, {"env": environment, "most": most}).scalars())


def prune(connection: sa.Connection, environment: str, keys: Iterable[str]) -> int:
    """Remove the rows of keys that are idle, and return how many there were.

    A row is the lock of its key: one that somebody holds stays. Whoever is about to lock one that goes makes it anew.

    Args:
        connection: Where to run, in a transaction of its own.
        environment: The environment of the keys.
        keys: Which keys, as `idle` returned them; those that are in use by now stay.
    """
    free = connection.execute(_LOCK_FREE, {"env": environment, "keys": list(keys)}).scalars().all()
    if not free:
        return 0
    # Looked at again: this statement's snapshot is newer than the locks.
    return connection.execute(_REMOVE_IDLE, {"env": environment, "keys": list(free)}).rowcount


def _declared_by(new: Iterable[NewExecution]) -> list[tuple[str, dict[str, Rate | None]]]:
    """Return the rates of keys by environment, in the order in which locks are taken."""
    by_environment: defaultdict[str, dict[str, Rate | None]] = defaultdict(dict)
    for item in new:
        if item.limit_key is not None:
            by_environment[item.environment][item.limit_key] = item.rate
    return sorted(by_environment.items())


def _lock(
    connection: sa.Connection, environment: str, ordered: list[str], declared: Mapping[str, Rate | None]
) -> set[str]:
    """Lock keys, make the rows of new ones, keep the rates that are declared, and return those that have a rate."""
    names = {"env": environment, "keys": ordered}
    rows = connection.execute(_LOCK, names).all()
    while len(rows) < len(ordered):  # again, where `prune` has just removed one that was there
        insert_missing(connection, limits, [{"environment": environment, "key": key} for key in ordered])
        rows = connection.execute(_LOCK, names).all()
    known = {row.key: rates.rate_of(row) for row in rows}
    changed = {key: rate for key, rate in declared.items() if known[key] != rate}
    if changed:
        rates.declare(connection, environment, changed)
    return {key for key, rate in (known | changed).items() if rate is not None}


def _admit_one(connection: sa.Connection, environment: str, key: str) -> int:
    names = {"env": environment, "key": key}
    first = connection.execute(_FIRST, names).first()
    if first is None:
        return 0
    admitted = connection.execute(_ADMITTED, names).scalar_one()
    room = _WITHOUT_LIMIT if first.limit_max is None else first.limit_max - admitted
    return parked.admit(connection, environment, {key: room}).total() if room > 0 else 0


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that are not there yet."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(), rows)
