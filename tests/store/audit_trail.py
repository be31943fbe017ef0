"""An audit that a test fills, seals, tampers with and verifies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Actor
from mainspring.security.audit import Audit
from mainspring.security.audit_archive import archive
from mainspring.security.audit_chain import BrokenChainError, Flaw, verify_store
from mainspring.store.auditing import audit_chain
from mainspring.store.auditing.audit_chain import Head
from mainspring.store.auditing.audit_entries import AuditEntry, insert_audit_entry
from mainspring.store.tables import audit_entries, audit_seals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mainspring.security.audit_archive import Segment
    from mainspring.security.audit_chain import Verified
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
KEY = b"the key of the audit, 32 bytes !"
TAMPERINGS = 50
LENGTH = 53
PLACES = [2 + 7 * number % (LENGTH - 2) for number in range(TAMPERINGS)]
"""Every place but the first and the last one, in no order."""
ROOT = Actor.at_terminal("test", "root")


@dataclass(slots=True)
class Trail:
    """An audit, who keeps it, and who may lay hands on it."""

    database: Database
    owner: Database
    world: RealWorld
    heads: list[Head] = field(default_factory=list[Head])

    def entry(self, number: int = 0, **facts: Any) -> AuditEntry:
        """Return an entry that is not written yet."""
        given: dict[str, Any] = {
            "id": self.world.new_id(),
            "environment": "test",
            "at": datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=number),
            "actor": f"user {number}",
            "actor_kind": "user",
            "organization_id": "acme",
            "action": "execution.cancel",
            "target_kind": "execution",
            "target_id": str(number),
            "allowed": True,
            "reason": "because",
            "before": '{"status":"running"}',
            "after": '{"status":"cancelled"}',
            "request_id": "request",
            "address": "127.0.0.1",
        }
        return AuditEntry(**given | facts)

    async def write(self, *entries: AuditEntry) -> None:
        """Write entries in one transaction."""

        def work(connection: sa.Connection) -> None:
            for entry in entries:
                insert_audit_entry(connection, entry, KEY)

        await self.database.tx(work)

    async def seal(self, most: int = audit_chain.BATCH) -> int:
        """Seal what waits."""
        return await self.database.tx(lambda connection: audit_chain.seal(connection, KEY, most=most))

    async def fill(self, count: int = LENGTH) -> None:
        """Write and seal entries, and note every head."""
        await self.write(*(self.entry(number) for number in range(count)))
        await self.seal()
        chain = await self.database.read(lambda connection: audit_chain.sealed_after(connection, 0))
        self.heads = [Head(sealed.sequence, sealed.chain_hash) for sealed in chain]

    async def verify(self, *noted: Head, key: bytes = KEY) -> Verified:
        """Verify what is in the store."""
        return await verify_store(self.database, key, noted=noted)

    async def broken(self, *noted: Head) -> tuple[int, Flaw]:
        """Return where the chain is broken, and how."""
        with pytest.raises(BrokenChainError) as caught:
            await self.verify(*noted)
        assert f"sequence {caught.value.sequence}" in str(caught.value)
        return caught.value.sequence, caught.value.flaw

    async def do(self, *statements: sa.Executable) -> None:
        """Lay hands on the tables, as their owner."""

        def work(connection: sa.Connection) -> None:
            for statement in statements:
                connection.execute(statement)

        await self.owner.tx(work)

    async def put(self, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
        """Write rows, as the owner of the table."""
        await self.owner.tx(lambda connection: connection.execute(sa.insert(table), rows))

    async def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """Return all rows of a table."""
        return await self.database.read(
            lambda connection: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        )

    async def archive(self, path: Path, *, through: int, database: Database | None = None) -> Segment:
        """Archive the chain through a sequence."""
        seals = {row["sequence"]: row["sealed_at"] for row in await self.rows(audit_seals)}
        return await archive(
            database or self.owner,
            Audit(self.owner, self.world, KEY),
            ROOT,
            KEY,
            before=seals[through] + timedelta(microseconds=1),
            path=path,
        )


def seal_at(sequence: int) -> sa.ColumnElement[bool]:
    return audit_seals.c.sequence == sequence


def entry_at(sequence: int) -> sa.ColumnElement[bool]:
    return audit_entries.c.id == sa.select(audit_seals.c.entry_id).where(seal_at(sequence)).scalar_subquery()
