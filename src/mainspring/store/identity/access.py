"""Who may no longer act, and who did what: revocations and the entries of the audit."""

from __future__ import annotations

import hmac
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import audit_entries, audit_unsealed, revocations, users

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.domain.access import Scope


# Revocations ---------------------------------------------------------------------------------------------------------


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


# Audit ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What an actor did, or was denied.

    Attributes:
        id: Its id, which sorts by time.
        environment: The environment it happened in.
        at: When, by the store's clock.
        actor: The subject of the actor.
        actor_kind: What kind of principal it was.
        organization_id: The actor's organization.
        action: What was done, for instance `execution.cancel`.
        target_kind: What kind of thing it was done to, for instance `execution`.
        target_id: Which one.
        allowed: Whether it was; False for a denial.
        reason: Why: the permission that was missing, or what a person gave as the reason.
        before: The changed facts as they were, as JSON text.
        after: The changed facts as they became, as JSON text.
        request_id: The HTTP request that it came with.
        address: Where that came from.
    """

    id: UUID
    environment: str
    at: datetime
    actor: str
    actor_kind: str
    organization_id: str | None
    action: str
    target_kind: str
    target_id: str
    allowed: bool
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    request_id: str | None = None
    address: str | None = None

    def mac(self, key: bytes) -> str:
        """Return the HMAC-SHA256 over its canonical JSON, as hexadecimal text.

        Canonical is: every field, sorted by name, without spaces; the instant in UTC with microseconds.
        """
        # Written out, in the order of their names: `audit verify` does this for every entry that there is. orjson
        # writes an instant as `isoformat` does, in a tenth of the time, but leaves out microseconds that are 0.
        facts = {
            "action": self.action,
            "actor": self.actor,
            "actor_kind": self.actor_kind,
            "address": self.address,
            "after": self.after,
            "allowed": self.allowed,
            "at": self.at if self.at.microsecond else self.at.isoformat(timespec="microseconds"),
            "before": self.before,
            "environment": self.environment,
            "id": str(self.id),
            "organization_id": self.organization_id,
            "reason": self.reason,
            "request_id": self.request_id,
            "target_id": self.target_id,
            "target_kind": self.target_kind,
        }
        return hmac.digest(key, orjson.dumps(facts), "sha256").hex()


def present_instant(connection: sa.Connection) -> datetime:
    """Return the store's present instant."""
    return connection.execute(sa.select(store_now())).scalar_one()


def insert_audit_entry(connection: sa.Connection, entry: AuditEntry, key: bytes) -> None:
    """Write an entry in the caller's transaction, sealed with its own MAC: it stands if what it tells stands.

    Args:
        connection: Where to run, in the transaction of what the entry tells.
        entry: What happened.
        key: The audit key.
    """
    connection.execute(sa.insert(audit_entries).values(**asdict(entry), mac=entry.mac(key)))
    connection.execute(sa.insert(audit_unsealed).values(entry_id=entry.id))


def audit_trail(
    connection: sa.Connection, scope: Scope, *, target_id: str, most: int = 100
) -> list[tuple[AuditEntry, str]]:
    """Return the entries about one thing, the newest first, each with the MAC that was written with it."""
    conditions = [audit_entries.c.environment == scope.environment, audit_entries.c.target_id == target_id]
    if scope.organization_id is not None:
        conditions.append(audit_entries.c.organization_id == scope.organization_id)
    rows = connection.execute(
        sa.select(audit_entries).where(*conditions).order_by(audit_entries.c.id.desc()).limit(most)
    ).mappings()
    found: list[tuple[AuditEntry, str]] = []
    for row in rows:
        facts: dict[str, Any] = dict(row)
        mac = facts.pop("mac")
        found.append((AuditEntry(**facts), mac))
    return found
