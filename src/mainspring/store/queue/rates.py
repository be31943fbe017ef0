"""Rates of job authors: what a key admits by its rate and its running limit, decided under the lock of the key's row.

One decision for all keys of a transaction takes three statements on PostgreSQL: read how the keys stand, make ready
what they have room for, keep when they open again. A key without a rate never comes here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.rate import Rate
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import parked
from mainspring.store.queue.parked import ENVIRONMENT, admitted_under, parked_under
from mainspring.store.tables import executions_live, limits
from mainspring.store.tables.types import Instant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

_live = executions_live.c
_key: sa.ColumnElement[str] = sa.bindparam("b_key", type_=sa.Text())
_count: sa.ColumnElement[int] = sa.bindparam("b_count", type_=sa.Integer())
_seconds: sa.ColumnElement[float] = sa.bindparam("b_seconds", type_=sa.Double())

_ADMITTED = sa.select(sa.func.count()).where(admitted_under(limits.c.key))
_FIRST = sa.select(parked.ROOM_LIMIT).where(parked_under(limits.c.key)).order_by(parked.MOST_URGENT_FIRST).limit(1)
_STANDING = (
    sa.select(
        limits.c.key,
        limits.c.rate_count,
        limits.c.rate_seconds,
        limits.c.rate_arrival,
        limits.c.open_at,
        store_now().label("now"),
        sa.exists().where(parked_under(limits.c.key)).label("is_waited_for"),
        _FIRST.scalar_subquery().label("limit_max"),
        _ADMITTED.scalar_subquery().label("admitted"),
        _ADMITTED.where(_live.stage == sa.literal_column("1")).scalar_subquery().label("unstarted"),
    )
    .where(limits.c.environment == ENVIRONMENT, one_of(limits.c.key, "keys"), limits.c.rate_count.is_not(None))
    .order_by(limits.c.key)
)
_OF_KEY = sa.update(limits).where(limits.c.environment == ENVIRONMENT, limits.c.key == _key)
_KEEP = _OF_KEY.values(
    rate_arrival=sa.bindparam("b_arrival", type_=Instant()),
    open_at=sa.case((sa.exists().where(parked_under(_key)), sa.bindparam("b_open_at", type_=Instant()))),
)
_DECLARE = _OF_KEY.values(
    rate_count=_count,
    rate_seconds=_seconds,
    open_at=sa.case((_count.is_not(None), limits.c.open_at)),
)


NEXT_OPEN = sa.select(sa.func.min(limits.c.open_at)).where(limits.c.open_at.is_not(None))
"""When the next key opens for which an execution waits."""

_OPEN = (
    sa.select(limits.c.environment, limits.c.key)
    .where(limits.c.open_at <= store_now())
    .order_by(limits.c.open_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)


def rate_of(row: Any) -> Rate | None:  # noqa: ANN401 - a row of either driver
    """Return the rate in a row of `limits`."""
    return None if row.rate_count is None else Rate(row.rate_count, timedelta(seconds=row.rate_seconds))


def declare(connection: sa.Connection, environment: str, rates: Mapping[str, Rate | None]) -> None:
    """Keep the rates of keys, whose locks are held; None: no rate any more."""
    connection.execute(
        _DECLARE,
        [
            {
                "env": environment,
                "b_key": key,
                "b_count": rate and rate.count,
                "b_seconds": rate and rate.period.total_seconds(),
            }
            for key, rate in rates.items()
        ],
    )


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a key stands while its lock is held.

    Attributes:
        arrival: The theoretical arrival time of its rate, brought up to now.
        running_room: How many more may be admitted by its running limit; None: it has none.
        is_waited_for: Whether an execution is parked under it.
    """

    key: str
    rate: Rate
    now: datetime
    arrival: datetime
    open_at: datetime | None
    running_room: int | None
    is_waited_for: bool

    @property
    def room(self) -> int:
        by_rate = self.rate.room(self.now, self.arrival)
        return by_rate if self.running_room is None else max(0, min(by_rate, self.running_room))

    def opens_after(self, admitted: int) -> datetime | None:
        """Return when the rate lets the next one through; None if nobody waits, or an end has to come first."""
        if not self.is_waited_for or (self.running_room is not None and self.running_room <= admitted):
            return None
        return self.rate.opens_at(self.arrival + admitted * self.rate.interval)

    def is_kept(self) -> bool:
        """Whether the row says all that is to be said where nothing was admitted."""
        opens = self.opens_after(0)
        is_looked_at_earlier = self.open_at is not None and opens is not None and self.now < self.open_at <= opens
        return is_looked_at_earlier or self.open_at == opens


def admit(connection: sa.Connection, environment: str, keys: Collection[str]) -> int:
    """Make parked executions ready as far as their keys allow, and return how many.

    Args:
        connection: Where to run, holding the locks of the keys.
        environment: The environment of the keys.
        keys: Keys with a rate.
    """
    rows = connection.execute(_STANDING, {"env": environment, "keys": sorted(keys)})
    standings = [_standing(row) for row in rows]
    rooms = {standing.key: standing.room for standing in standings if standing.is_waited_for and standing.room}
    admitted = parked.admit(connection, environment, rooms) if rooms else Counter[str]()
    kept = [
        {
            "env": environment,
            "b_key": standing.key,
            "b_arrival": standing.arrival + admitted[standing.key] * standing.rate.interval,
            "b_open_at": standing.opens_after(admitted[standing.key]),
        }
        for standing in standings
        if admitted[standing.key] or not standing.is_kept()
    ]
    if kept:
        connection.execute(_KEEP, kept)
    return admitted.total()


def admit_open(connection: sa.Connection, most: int) -> None:
    """Admit what waits for keys that have opened, save those that somebody else looks at just now.

    Args:
        connection: Where to run.
        most: How many keys at once, at least 1.
    """
    by_environment: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(_OPEN, {"most": most}):
        by_environment[row.environment].append(row.key)
    for environment, keys in by_environment.items():
        admit(connection, environment, keys)


def _standing(row: Any) -> _Standing:  # noqa: ANN401 - as above
    rate = Rate(row.rate_count, timedelta(seconds=row.rate_seconds))
    return _Standing(
        key=row.key,
        rate=rate,
        now=row.now,
        arrival=rate.arrival_at(row.now, row.rate_arrival, unstarted=row.unstarted),
        open_at=row.open_at,
        running_room=None if row.limit_max is None else row.limit_max - row.admitted,
        is_waited_for=row.is_waited_for,
    )
