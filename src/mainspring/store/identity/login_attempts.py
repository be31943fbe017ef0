"""How many wrong sign-ins of late, for an account and for a network address: one row each, shared by all nodes.

It is the generic cell rate algorithm (ITU-T I.371): every attempt pushes an instant further away, and how far that
may lie ahead is the limit. A row whose instant has passed means the same as none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.store.engine.dialect import InstantPlus, store_now, store_now_plus
from mainspring.store.tables import login_attempts

if TYPE_CHECKING:
    from datetime import timedelta


class AttemptKind(StrEnum):
    """What attempts are counted for."""

    ACCOUNT = "account"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How many attempts are let through.

    Attributes:
        most: So many at once.
        forgiven_after: And one more each time this has passed.
    """

    most: int
    forgiven_after: timedelta


_FORGIVEN_AT: Final = login_attempts.c.forgiven_at
_STEP: Final[sa.BindParameter[float]] = sa.bindparam("step", type_=sa.Double[float]())
_WINDOW: Final[sa.BindParameter[float]] = sa.bindparam("window", type_=sa.Double[float]())
_OF_ONE: Final = sa.and_(
    login_attempts.c.kind == sa.bindparam("b_kind"), login_attempts.c.value == sa.bindparam("b_value")
)
_AFTERWARDS: Final = InstantPlus(sa.case((store_now() < _FORGIVEN_AT, _FORGIVEN_AT), else_=store_now()), _STEP)


def _counting(insert: postgresql.Insert | sqlite.Insert) -> Any:  # noqa: ANN401 - SQLAlchemy's upsert
    new = insert.values(kind=sa.bindparam("b_kind"), value=sa.bindparam("b_value"), forgiven_at=store_now_plus(_STEP))
    return new.on_conflict_do_update(
        index_elements=[login_attempts.c.kind, login_attempts.c.value],
        set_={"forgiven_at": _AFTERWARDS},
        where=store_now_plus(_WINDOW) >= _AFTERWARDS,
    ).returning(_FORGIVEN_AT)


_COUNT: Final = {
    "postgresql": _counting(postgresql.insert(login_attempts)),
    "sqlite": _counting(sqlite.insert(login_attempts)),
}
_SWEEP: Final = sa.delete(login_attempts).where(store_now() >= _FORGIVEN_AT)
_WAIT: Final = sa.select(_FORGIVEN_AT, store_now().label("now")).where(_OF_ONE)
_FORGIVE: Final = sa.update(login_attempts).where(_OF_ONE).values(forgiven_at=InstantPlus(_FORGIVEN_AT, -_STEP))
_FORGET: Final = sa.delete(login_attempts).where(_OF_ONE)


def count(connection: sa.Connection, kind: AttemptKind, value: str, limit: AttemptLimit) -> float | None:
    """Count one attempt, if there is room for it.

    It is counted before the password is looked at, and given back if that was right: a hundred attempts at once get no
    more looks than a hundred in a row.

    Returns:
        None, or how many seconds to wait for room; then nothing was counted.
    """
    step = limit.forgiven_after.total_seconds()
    of_one = {"b_kind": kind.value, "b_value": value}
    window = {"step": step, "window": step * limit.most}
    if connection.execute(_COUNT[connection.dialect.name], of_one | window).first() is not None:
        return None
    row = connection.execute(_WAIT, of_one).one()
    return max(0.0, (row.forgiven_at - row.now).total_seconds() - step * (limit.most - 1))


def forgive_one(connection: sa.Connection, kind: AttemptKind, value: str, limit: AttemptLimit) -> None:
    """Give back one attempt, which was right."""
    step = {"step": limit.forgiven_after.total_seconds()}
    connection.execute(_FORGIVE, {"b_kind": kind.value, "b_value": value} | step)


def forget(connection: sa.Connection, kind: AttemptKind, value: str) -> None:
    """Forget all attempts."""
    connection.execute(_FORGET, {"b_kind": kind.value, "b_value": value})


def sweep(connection: sa.Connection) -> None:
    """Remove what has been forgiven."""
    connection.execute(_SWEEP)
