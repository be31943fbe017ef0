"""What actors did, or were denied: one entry each, with a MAC of its own, in the transaction of what it tells."""

from __future__ import annotations

import hmac
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.store.tables import audit_entries, audit_unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID


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
        """Return the HMAC-SHA256 over its canonical JSON, as hexadecimal text."""
        return hmac.digest(key, canonical_json(asdict(self)), "sha256").hex()


ENTRY_FIELDS: Final = tuple(field.name for field in fields(AuditEntry))


def canonical_json(facts: Mapping[str, Any]) -> bytes:
    """Return an entry in the form that its MAC is made over.

    Canonical is: every field, sorted by name, without spaces; the instant in UTC with microseconds.

    Args:
        facts: Every field of `AuditEntry`, by its name.
    """
    at: datetime = facts["at"]
    # orjson writes an instant as `isoformat` does, in a tenth of the time, but leaves out microseconds that are 0.
    exact = at if at.microsecond else at.isoformat(timespec="microseconds")
    return orjson.dumps({**facts, "at": exact, "id": str(facts["id"])}, option=orjson.OPT_SORT_KEYS)


def insert_audit_entry(connection: sa.Connection, entry: AuditEntry, key: bytes) -> None:
    """Write an entry in the caller's transaction, sealed with its own MAC: it stands if what it tells stands.

    Args:
        connection: Where to run, in the transaction of what the entry tells.
        entry: What happened.
        key: The audit key.
    """
    connection.execute(sa.insert(audit_entries).values(**asdict(entry), mac=entry.mac(key)))
    connection.execute(sa.insert(audit_unsealed).values(entry_id=entry.id))
