"""API keys: what a program proves itself by, stored as the hash of the key alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.access import Role
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import api_keys

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Scope


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, without the key.

    Attributes:
        id: Its id, which is a part of the key and no secret.
        environment: Where it holds.
        role: What it may do.
        service_name: The service that registers jobs by it; None: it is an organization's.
        name_prefix: What the names of that service's jobs begin with.
        organization_id: The organization that it acts for; None: it is a service's.
        created_at: When it was made.
        last_used_at: When it was last used, to the minute.
        revoked_at: When it was revoked; None: it was not.
        expires_at: When it ends by itself; None: it does not.
    """

    id: UUID
    environment: str
    role: Role
    service_name: str | None
    name_prefix: str | None
    organization_id: str | None
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    expires_at: datetime | None = None


_SHOWN: Final = tuple(api_keys.c[name] for name in ApiKey.__slots__)
_IS_NOT_REVOKED: Final = api_keys.c.revoked_at.is_(None)
_HAS_NOT_EXPIRED: Final = sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > store_now())


def insert(
    connection: sa.Connection,
    key_id: UUID,
    environment: str,
    *,
    key_hash: str,
    role: Role,
    service_name: str | None = None,
    name_prefix: str | None = None,
    organization_id: str | None = None,
    expires_at: datetime | None = None,
) -> None:
    """Add a key."""
    connection.execute(
        sa.insert(api_keys).values(
            id=key_id,
            environment=environment,
            key_hash=key_hash,
            role=role.value,
            service_name=service_name,
            name_prefix=name_prefix,
            organization_id=organization_id,
            created_at=store_now(),
            expires_at=expires_at,
        )
    )


_LOOK_UP: Final = sa.select(*_SHOWN, api_keys.c.key_hash).where(
    api_keys.c.environment == sa.bindparam("b_environment"), api_keys.c.id == sa.bindparam("b_id")
)


def with_hash(connection: sa.Connection, environment: str, key_id: UUID) -> tuple[ApiKey, str] | None:
    """Return the key of an id with its hash, revoked or not.

    It takes no scope: whoever asks is not known yet.
    """
    row = connection.execute(_LOOK_UP, {"b_environment": environment, "b_id": key_id}).mappings().first()
    return None if row is None else (_key(row), row["key_hash"])


_SINCE: Final[sa.BindParameter[float]] = sa.bindparam("since", type_=sa.Double[float]())
_TOUCH: Final = (
    sa.update(api_keys)
    .where(
        api_keys.c.id == sa.bindparam("b_id"),
        sa.or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= store_now_plus(-_SINCE)),
    )
    .values(last_used_at=store_now())
)


def touch(connection: sa.Connection, key_id: UUID, *, every: float) -> None:
    """Write down that a key was used just now, unless that was written less than `every` seconds ago."""
    connection.execute(_TOUCH, {"b_id": key_id, "since": every})


def find(connection: sa.Connection, scope: Scope, *, most: int = 1000) -> list[ApiKey]:
    """Return the keys that a scope sees, the newest first; those of services only for platform staff."""
    rows = connection.execute(
        sa.select(*_SHOWN).where(*_seen_by(scope)).order_by(api_keys.c.id.desc()).limit(most)
    ).mappings()
    return [_key(row) for row in rows]


def get(connection: sa.Connection, scope: Scope, key_id: UUID) -> ApiKey | None:
    """Return the key of that id if the scope sees it."""
    row = connection.execute(sa.select(*_SHOWN).where(*_seen_by(scope), api_keys.c.id == key_id)).mappings().first()
    return None if row is None else _key(row)


def live_service_keys(connection: sa.Connection, environment: str) -> list[ApiKey]:
    """Return all keys of services that hold, the oldest first."""
    of_services = sa.select(*_SHOWN).where(
        api_keys.c.environment == environment,
        api_keys.c.service_name.is_not(None),
        _IS_NOT_REVOKED,
        _HAS_NOT_EXPIRED,
    )
    return [_key(row) for row in connection.execute(of_services.order_by(api_keys.c.id)).mappings()]


def revoke(connection: sa.Connection, key_id: UUID) -> bool:
    """Revoke a key; False if it was revoked before."""
    statement = sa.update(api_keys).where(api_keys.c.id == key_id, _IS_NOT_REVOKED).values(revoked_at=store_now())
    return connection.execute(statement).rowcount == 1


def _seen_by(scope: Scope) -> list[sa.ColumnElement[bool]]:
    conditions = [api_keys.c.environment == scope.environment]
    if scope.organization_id is not None:
        conditions.append(api_keys.c.organization_id == scope.organization_id)
    return conditions


def _key(row: sa.RowMapping) -> ApiKey:
    facts: dict[str, Any] = {name: row[name] for name in ApiKey.__slots__}
    facts["role"] = Role(row["role"])
    return ApiKey(**facts)
