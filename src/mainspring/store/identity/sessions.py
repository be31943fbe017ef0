"""Who is signed in: one row a session, found by the hash of its id, so that the store lets nobody in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.access import Role
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import sessions, users

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that holds.

    Attributes:
        id_hash: The hash of its id.
        user: The name of who has signed in.
        role: What it may do at present.
        organization_id: Its organization at present.
        created_at: When it signed in.
        expires_at: When it has to sign in again, whatever it does.
    """

    id_hash: str
    user: str
    role: Role
    organization_id: str | None
    created_at: datetime
    expires_at: datetime


def _seconds(name: str) -> sa.BindParameter[float]:
    return sa.bindparam(name, type_=sa.Double[float]())


_IS_OVER: Final = sa.or_(sessions.c.expires_at <= store_now(), sessions.c.seen_at <= store_now_plus(-_seconds("idle")))
_SWEEP: Final = sa.delete(sessions).where(_IS_OVER)
_INSERT: Final = sa.insert(sessions).values(
    id_hash=sa.bindparam("id_hash"),
    user_id=sa.bindparam("user_id"),
    created_at=store_now(),
    seen_at=store_now(),
    expires_at=store_now_plus(_seconds("lifetime")),
)


def insert(connection: sa.Connection, id_hash: str, user_id: UUID, *, lifetime: float, idle: float) -> None:
    """Begin a session, and remove those that are over.

    Args:
        connection: Where to run, in a transaction.
        id_hash: The hash of its id.
        user_id: Who has signed in.
        lifetime: Seconds after which it is over.
        idle: Seconds without a request after which a session is over.
    """
    connection.execute(_SWEEP, {"idle": idle})
    connection.execute(_INSERT, {"id_hash": id_hash, "user_id": user_id, "lifetime": lifetime})


_HOLDING: Final = (
    sa.select(
        sessions.c.id_hash,
        users.c.name.label("user"),
        users.c.role,
        users.c.organization_id,
        sessions.c.created_at,
        sessions.c.expires_at,
        (sessions.c.seen_at <= store_now_plus(-_seconds("unseen"))).label("is_unseen"),
    )
    .join_from(sessions, users, sessions.c.user_id == users.c.id)
    .where(sessions.c.id_hash == sa.bindparam("b_id_hash"), sa.not_(_IS_OVER), users.c.disabled_at.is_(None))
)


def get(connection: sa.Connection, id_hash: str, *, idle: float, unseen: float) -> tuple[StoredSession, bool] | None:
    """Return the session of that hash if it holds, and whether it is time to write down that it was seen.

    Args:
        connection: Where to run.
        id_hash: The hash of its id.
        idle: Seconds without a request after which a session is over.
        unseen: Seconds after which it has to be written down that it was seen.
    """
    row = connection.execute(_HOLDING, {"b_id_hash": id_hash, "idle": idle, "unseen": unseen}).first()
    if row is None:
        return None
    held = StoredSession(row.id_hash, row.user, Role(row.role), row.organization_id, row.created_at, row.expires_at)
    return held, bool(row.is_unseen)


def touch(connection: sa.Connection, id_hash: str) -> None:
    """Write down that a session was seen just now."""
    connection.execute(sa.update(sessions).where(sessions.c.id_hash == id_hash).values(seen_at=store_now()))


def delete(connection: sa.Connection, id_hash: str) -> None:
    """End a session, if there is one."""
    connection.execute(sa.delete(sessions).where(sessions.c.id_hash == id_hash))


def delete_of_user(connection: sa.Connection, user_id: UUID) -> None:
    """End all sessions of a user."""
    connection.execute(sa.delete(sessions).where(sessions.c.user_id == user_id))
