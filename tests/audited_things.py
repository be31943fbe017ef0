"""What the audit holds about one thing, as tests look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.auditing.audit_entries import AuditEntry
from mainspring.store.tables import audit_entries

if TYPE_CHECKING:
    from mainspring.domain.access import Scope


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
