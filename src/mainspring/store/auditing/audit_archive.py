"""The front of the audit chain leaves the store, and an entry with a MAC of its own tells where the rest begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.errors import IntegrityError
from mainspring.store.auditing.audit_chain import ENTRY_COLUMNS, Head, first_sequence, head, take_chain, with_macs
from mainspring.store.tables import audit_entries, audit_seals

if TYPE_CHECKING:
    from datetime import datetime

    from mainspring.store.auditing.audit_entries import AuditEntry

ARCHIVE_ACTION: Final = "audit.archive"
ARCHIVE_TARGET: Final = ("audit", "chain")
_ARCHIVALS: sa.Executable = sa.select(audit_entries.c.mac, *ENTRY_COLUMNS).where(
    audit_entries.c.action == ARCHIVE_ACTION,
    audit_entries.c.target_kind == ARCHIVE_TARGET[0],
    audit_entries.c.target_id == ARCHIVE_TARGET[1],
    audit_entries.c.allowed,
)
_UNTIL = sa.select(sa.func.min(audit_seals.c.sequence)).where(audit_seals.c.sealed_at >= sa.bindparam("before"))
_AT = sa.select(audit_seals.c.chain_hash).where(audit_seals.c.sequence == sa.bindparam("sequence"))
_THROUGH = audit_seals.c.sequence <= sa.bindparam("last")
_REMOVE_ENTRIES = sa.delete(audit_entries).where(
    audit_entries.c.id.in_(sa.select(audit_seals.c.entry_id).where(_THROUGH))
)
_REMOVE_SEALS = sa.delete(audit_seals).where(_THROUGH)
_MAY_REMOVE = sa.text(
    "select has_table_privilege('mainspring.audit_entries', 'delete') "
    "and has_table_privilege('mainspring.audit_seals', 'delete')"
)


def archivals(connection: sa.Connection) -> list[tuple[AuditEntry, str]]:
    """Return the entries that tell of archives, each with the MAC that was written with it."""
    return with_macs(connection.execute(_ARCHIVALS))


def last_sealed_before(connection: sa.Connection, before: datetime) -> Head | None:
    """Return the last entry of the part of the chain that was sealed before an instant; None: there is none.

    The newest entry of all is never in that part: it is what the next one continues.
    """
    until = connection.execute(_UNTIL, {"before": before}).scalar()
    last = (head(connection).sequence if until is None else until) - 1
    chain_hash = connection.execute(_AT, {"sequence": last}).scalar()
    return None if chain_hash is None else Head(last, chain_hash)


def may_remove(connection: sa.Connection) -> bool:
    """Whether the role of this connection has the right to remove entries; the role of the nodes has not."""
    return connection.dialect.name != "postgresql" or bool(connection.execute(_MAY_REMOVE).scalar_one())


def remove_through(connection: sa.Connection, first: int, last: Head) -> None:
    """Remove the front of the chain, in the transaction that also writes the entry about it.

    Args:
        connection: Where to run, as a role that `may_remove`.
        first: The sequence that the chain began with when it was archived.
        last: The last entry to go.

    Raises:
        IntegrityError: The chain was archived or changed since: nothing is removed.
    """
    take_chain(connection)
    if first_sequence(connection) != first:
        raise IntegrityError("somebody else has archived the audit meanwhile: nothing was removed; archive again")
    bound = {"last": last.sequence}
    removed = [connection.execute(statement, bound).rowcount for statement in (_REMOVE_ENTRIES, _REMOVE_SEALS)]
    if set(removed) != {last.sequence - first + 1}:
        raise IntegrityError(
            f"of the entries {first} to {last.sequence} of the audit, {removed[0]} are there, with {removed[1]} seals: "
            "nothing was removed; run `mainspring audit verify`"
        )
