"""Named locks: a row with an owner, a fence and a lease, so that one holder at a time works on something.

A lock is taken, kept and given back in short transactions; what keeps it between them is its lease. The fence is new
and higher each time, for whoever guards a resource against a holder that was slow to notice that its lease was over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import SCHEMA, fences, locks

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.sql.dml import ReturningInsert

_LEASE_END = store_now_plus(sa.bindparam("lease", type_=sa.Double()))
_IS_FREE = locks.c.lease_until <= store_now()
_NAMED = sa.and_(locks.c.environment == sa.bindparam("b_environment"), locks.c.key == sa.bindparam("b_key"))


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that its owner holds until `lease_until`, by the store's clock.

    Attributes:
        environment: The environment in which the key is unique.
        key: What is locked.
        owner: The secret of this acquisition: nobody else can renew or release it.
        fence: Higher than that of every holder before.
        lease_until: When it is free again unless it is renewed.
    """

    environment: str
    key: str
    owner: str
    fence: int
    lease_until: datetime


def _taking(insert: postgresql.Insert | sqlite.Insert, fence: sa.ColumnElement[int]) -> ReturningInsert[int, datetime]:
    given: dict[str, sa.ColumnElement[Any]] = {
        "environment": sa.bindparam("b_environment"),
        "key": sa.bindparam("b_key"),
        "owner": sa.bindparam("b_owner"),
        "holder": sa.bindparam("b_holder"),
        "fence": fence,
        "lease_until": _LEASE_END,
    }
    changed = {name: value for name, value in given.items() if name not in {"environment", "key"}}
    # The fence of a lock that changes hands is drawn under the lock of its row, so that no later holder has a lower
    # one; this is why a released row stays, and is removed by retention when nobody can be about to take it.
    return (
        insert.values(given)
        .on_conflict_do_update(index_elements=["environment", "key"], set_=changed, where=_IS_FREE)
        .returning(locks.c.fence, locks.c.lease_until)
    )


_TAKE_ON_POSTGRESQL = _taking(postgresql.insert(locks), sa.Sequence("fence_values", schema=SCHEMA).next_value())
_TAKE_ON_SQLITE = _taking(sqlite.insert(locks), sa.bindparam("b_fence", type_=sa.BigInteger()))
_NEXT_FENCE = sa.update(fences).values(value=fences.c.value + 1).returning(fences.c.value)


def acquire(
    connection: sa.Connection, environment: str, key: str, *, owner: str, holder: str, lease_seconds: float
) -> HeldLock | None:
    """Take a lock if it is free.

    Args:
        connection: Where to run, in a short transaction of its own.
        environment: The environment.
        key: What to lock.
        owner: A secret that is new for each acquisition, from `World.token`.
        holder: Who takes it, for people: a node, a job, an execution.
        lease_seconds: How long it is held without a renewal, more than 0.

    Returns:
        The lock, or None if somebody holds it.
    """
    wanted = {
        "b_environment": environment,
        "b_key": key,
        "b_owner": owner,
        "b_holder": holder,
        "lease": lease_seconds,
    }
    if connection.dialect.name == "postgresql":
        row = connection.execute(_TAKE_ON_POSTGRESQL, wanted).first()
    else:
        fence = connection.execute(_NEXT_FENCE).scalar_one()
        row = connection.execute(_TAKE_ON_SQLITE, wanted | {"b_fence": fence}).first()
    return None if row is None else HeldLock(environment, key, owner, row.fence, row.lease_until)


_HELD = sa.and_(_NAMED, locks.c.owner == sa.bindparam("b_owner"), locks.c.lease_until > store_now())
_RENEW = sa.update(locks).where(_HELD).values(lease_until=_LEASE_END)
_RELEASE = sa.update(locks).where(_HELD).values(lease_until=store_now())
_HOLDER = sa.select(locks.c.holder).where(_NAMED, locks.c.lease_until > store_now())


def renew(connection: sa.Connection, environment: str, key: str, *, owner: str, lease_seconds: float) -> bool:
    """Prolong a lease from now on; False if it was over, and the lock is lost."""
    renewed = _owned(environment, key, owner) | {"lease": lease_seconds}
    return connection.execute(_RENEW, renewed).rowcount == 1


def release(connection: sa.Connection, environment: str, key: str, *, owner: str) -> bool:
    """Give a lock back; False if its lease was over before, so that somebody else may have been at work."""
    return connection.execute(_RELEASE, _owned(environment, key, owner)).rowcount == 1


def holder(connection: sa.Connection, environment: str, key: str) -> str | None:
    """Return who holds a lock, or None if it is free."""
    return connection.execute(_HOLDER, {"b_environment": environment, "b_key": key}).scalar()


def _owned(environment: str, key: str, owner: str) -> dict[str, object]:
    return {"b_environment": environment, "b_key": key, "b_owner": owner}
