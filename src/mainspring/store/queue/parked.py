"""Executions that wait parked for room under their limit key, the most urgent first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.domain.execution import Stage
from mainspring.store.engine.lists import chosen
from mainspring.store.tables import breakers, executions_live
from mainspring.store.tables.urgency import POSTGRESQL_URGENCY, Urgency

if TYPE_CHECKING:
    from collections.abc import Mapping

_live = executions_live.c
ENVIRONMENT: sa.ColumnElement[str] = sa.bindparam("env", type_=sa.Text())


def parked_under(key: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a live execution of the environment bound as `env` is parked under a key."""
    return sa.and_(_live.environment == ENVIRONMENT, _live.limit_key == key, _live.stage == sa.literal_column("2"))


def admitted_under(key: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Return the condition that it is admitted under that key: ready or running."""
    return sa.and_(
        _live.environment == ENVIRONMENT,
        _live.limit_key == key,
        _live.stage.in_([sa.literal_column("1"), sa.literal_column("3")]),
    )


MOST_URGENT_FIRST = Urgency(_live.available_at, _live.priority)

_IS_HELD_BACK = sa.exists().where(
    breakers.c.environment == _live.environment,
    breakers.c.job_name == _live.job_name,
    breakers.c.state != BreakerState.CLOSED.value,
)
ROOM_LIMIT = sa.case((_IS_HELD_BACK, sa.literal_column("0", sa.Integer())), else_=_live.limit_max).label("limit_max")
"""How many of a parked execution's key may be admitted at once: none while the breaker of its job is not closed."""

_ADMIT_ONE_KEY = (
    sa.update(executions_live)
    .where(
        chosen(
            _live.id,
            sa.select(_live.id)
            .where(parked_under(sa.bindparam("key", type_=sa.Text())))
            .order_by(MOST_URGENT_FIRST)
            .limit(sa.bindparam("room")),
        )
    )
    .values(stage=int(Stage.READY))
)

# The same for all keys in one statement, whose snapshot is newer than the locks.
_ADMIT_ALL_KEYS = sa.text(f"""
update mainspring.executions_live e set stage = 1 where e.id = any(array(
    select next.id from unnest(cast(:keys as text[]), cast(:rooms as int[])) k(key, room)
    cross join lateral (
        select p.id from mainspring.executions_live p
        where p.environment = :env and p.limit_key = k.key and p.stage = 2
        order by {POSTGRESQL_URGENCY} limit k.room for update skip locked) next))
returning e.limit_key
""")  # noqa: S608 - only a constant is put in


def admit(connection: sa.Connection, environment: str, rooms: Mapping[str, int]) -> Counter[str]:
    """Make parked executions ready, at most so many of each key, and return how many it were.

    Args:
        connection: Where to run, holding the locks of the keys.
        environment: The environment of the keys.
        rooms: How many may be admitted per key, at least 1.
    """
    if connection.dialect.name == "postgresql":
        names = {"env": environment, "keys": list(rooms), "rooms": list(rooms.values())}
        return Counter(connection.execute(_ADMIT_ALL_KEYS, names).scalars())
    return Counter(
        {
            key: connection.execute(_ADMIT_ONE_KEY, {"env": environment, "key": key, "room": room}).rowcount
            for key, room in rooms.items()
        }
    )
