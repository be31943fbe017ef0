"""Who may no longer act: tokens and users whose access was taken back before it would have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import revocations, users

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Revocations:
    """Every revocation that still matters.

    Attributes:
        tokens: Ids (`jti`) of tokens that no longer hold.
        users: Until when the tokens of these users were revoked: one issued later holds.
        disabled: Users that may not act at all.
    """

    tokens: frozenset[str]
    users: dict[str, datetime]
    disabled: frozenset[str] = frozenset()


_KEEP: Final[sa.BindParameter[float]] = sa.bindparam("keep_seconds", type_=sa.Double[float]())


def revoke_token(connection: sa.Connection, token_id: str, *, keep: timedelta) -> None:
    """Revoke one token by its `jti`.

    Args:
        connection: Where to run, in a transaction.
        token_id: The `jti`.
        keep: For how long the revocation is kept; no token lives longer.
    """
    _revoke(connection, "jti", token_id, keep)


def spend(connection: sa.Connection, token_id: str, *, keep: timedelta) -> bool:
    """Revoke what holds for one use; False: somebody has used it before.

    Args:
        connection: Where to run, in a transaction.
        token_id: Its id.
        keep: For how long it would have held.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(revocations).values(
        kind="jti", value=token_id, revoked_at=store_now(), expires_at=store_now_plus(_KEEP)
    )
    once = new.on_conflict_do_nothing().returning(revocations.c.value)
    return connection.execute(once, {"keep_seconds": keep.total_seconds()}).first() is not None


def revoke_user(connection: sa.Connection, user: str, *, keep: timedelta) -> None:
    """Revoke all tokens that a user has at present; those made later hold."""
    _revoke(connection, "user", user, keep)


def _revoke(connection: sa.Connection, kind: str, value: str, keep: timedelta) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(revocations).values(kind=kind, value=value, revoked_at=store_now(), expires_at=store_now_plus(_KEEP))
    again = new.on_conflict_do_update(
        index_elements=[revocations.c.kind, revocations.c.value],
        set_={"revoked_at": new.excluded.revoked_at, "expires_at": new.excluded.expires_at},
    )
    connection.execute(again, {"keep_seconds": keep.total_seconds()})


_STANDING: Final = sa.select(revocations.c.kind, revocations.c.value, revocations.c.revoked_at).where(
    sa.or_(revocations.c.expires_at.is_(None), revocations.c.expires_at > store_now())
)
_DISABLED: Final = sa.select(users.c.name).where(users.c.disabled_at.is_not(None))


def standing_revocations(connection: sa.Connection) -> Revocations:
    """Return every revocation that has not expired."""
    rows = connection.execute(_STANDING).all()
    return Revocations(
        tokens=frozenset(row.value for row in rows if row.kind == "jti"),
        users={row.value: row.revoked_at for row in rows if row.kind == "user"},
        disabled=frozenset(connection.execute(_DISABLED).scalars()),
    )
