"""People who sign in: who they are, what their role is, and whether they may still act.

A user belongs to the whole deployment, not to one environment: a person has one name and one password.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.access import Role
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import users

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Permission, Scope


@dataclass(frozen=True, slots=True)
class User:
    """A person.

    Attributes:
        id: Its id.
        name: By which it signs in, and under which it acts.
        role: What it may do.
        organization_id: Its organization; None: platform staff.
        created_at: Since when it exists.
        disabled_at: Since when it may no longer act; None: it may.
    """

    id: UUID
    name: str
    role: Role
    organization_id: str | None
    created_at: datetime
    disabled_at: datetime | None


_SHOWN: Final = (
    users.c.id,
    users.c.name,
    users.c.role,
    users.c.organization_id,
    users.c.created_at,
    users.c.disabled_at,
)


def insert(
    connection: sa.Connection, user_id: UUID, name: str, *, role: Role, organization_id: str | None, password_hash: str
) -> bool:
    """Add a user; False if the name is taken."""
    insert_into = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert_into(users).values(
        id=user_id,
        name=name,
        password_hash=password_hash,
        role=role.value,
        organization_id=organization_id,
        created_at=store_now(),
    )
    return connection.execute(statement.on_conflict_do_nothing(index_elements=[users.c.name])).rowcount == 1


def find(connection: sa.Connection, scope: Scope, *, most: int = 1000) -> list[User]:
    """Return the users that a scope sees, by name."""
    rows = connection.execute(sa.select(*_SHOWN).where(*_seen_by(scope)).order_by(users.c.name).limit(most))
    return [_user(row) for row in rows.mappings()]


def get(connection: sa.Connection, scope: Scope, name: str, *, for_update: bool = False) -> User | None:
    """Return the user of that name if the scope sees it.

    Args:
        connection: Where to run.
        scope: Who asks.
        name: The user's name.
        for_update: Whether the row stays as it is until the transaction ends.
    """
    wanted = sa.select(*_SHOWN).where(*_seen_by(scope), users.c.name == name)
    row = connection.execute(wanted.with_for_update() if for_update else wanted).mappings().first()
    return None if row is None else _user(row)


_STAFF: Final = sa.select(users.c.name, users.c.role).where(
    one_of(users.c.name, "b_names"), users.c.organization_id.is_(None), users.c.disabled_at.is_(None)
)


def staff_who_may(connection: sa.Connection, names: Collection[str], permission: Permission) -> set[str]:
    """Return those of some people who belong to no organization, may act, and hold a permission by their role."""
    if not names:
        return set()
    rows = connection.execute(_STAFF, {"b_names": list(names)})
    return {row.name for row in rows if permission in Role(row.role).permissions}


_ANYBODY: Final = (
    sa.select(users.c.id).where(users.c.password_hash.is_not(None), users.c.disabled_at.is_(None)).limit(1)
)


def exist(connection: sa.Connection) -> bool:
    """Whether anybody can sign in with a password."""
    return connection.execute(_ANYBODY).first() is not None


_CREDENTIALS: Final = sa.select(*_SHOWN, users.c.password_hash).where(users.c.name == sa.bindparam("b_name"))


def with_password_hash(connection: sa.Connection, name: str, *, for_update: bool = False) -> tuple[User, str] | None:
    """Return who signs in by a name, with the hash of its password; None: nobody, or nobody who may.

    It takes no scope: whoever asks is not known yet.

    Args:
        connection: Where to run.
        name: What was typed.
        for_update: Whether the row stays as it is until the transaction ends.
    """
    wanted = _CREDENTIALS.with_for_update() if for_update else _CREDENTIALS
    row = connection.execute(wanted, {"b_name": name}).mappings().first()
    if row is None or row["disabled_at"] is not None or row["password_hash"] is None:
        return None
    return _user(row), row["password_hash"]


def lock_admins(connection: sa.Connection, organization_id: str | None) -> Sequence[str]:
    """Return the names of the admins of an organization, or of the platform, who may act.

    Their rows stay as they are until the transaction ends, so that two admins cannot remove each other at once.
    """
    of_same = (
        users.c.organization_id.is_(None) if organization_id is None else users.c.organization_id == organization_id
    )
    admins = sa.select(users.c.name).where(users.c.role == Role.ADMIN.value, users.c.disabled_at.is_(None), of_same)
    return connection.execute(admins.order_by(users.c.id).with_for_update()).scalars().all()


def set_role(connection: sa.Connection, user_id: UUID, role: Role) -> None:
    """Give a user another role."""
    connection.execute(sa.update(users).where(users.c.id == user_id).values(role=role.value))


def set_password_hash(connection: sa.Connection, user_id: UUID, password_hash: str) -> None:
    """Give a user another password."""
    connection.execute(sa.update(users).where(users.c.id == user_id).values(password_hash=password_hash))


def disable(connection: sa.Connection, user_id: UUID) -> None:
    """Let a user no longer act."""
    connection.execute(sa.update(users).where(users.c.id == user_id).values(disabled_at=store_now()))


def enable(connection: sa.Connection, user_id: UUID) -> None:
    """Let a user act again."""
    connection.execute(sa.update(users).where(users.c.id == user_id).values(disabled_at=None))


def _seen_by(scope: Scope) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if scope.organization_id is not None:
        conditions.append(users.c.organization_id == scope.organization_id)
    if scope.user_id is not None:
        conditions.append(users.c.name == scope.user_id)
    return conditions


def _user(row: sa.RowMapping) -> User:
    facts: dict[str, Any] = {name: row[name] for name in User.__slots__}
    facts["role"] = Role(row["role"])
    return User(**facts)
