"""The chain of the audit: entries get a sequence and a chain hash, are read in that order, and leave from the front.

An entry stands in `audit_unsealed` from the transaction that writes it until it is sealed. So the sealer finds what is
new in one look at a small table, and an entry whose transaction took long is found when it becomes visible, whatever
its id and its time (ADR 15).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import sqlalchemy as sa

from mainspring.store.auditing.audit_entries import ENTRY_FIELDS, AuditEntry
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import audit_entries, audit_seals, audit_unsealed
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Scope

BATCH: Final = 1_000
_LABEL: Final = "mainspring audit seal"


@dataclass(frozen=True, slots=True)
class Head:
    """An end of the chain: whoever has noted one can tell later whether the chain still contains it.

    Attributes:
        sequence: The place of its entry, from 1; 0 is before the first one.
        chain_hash: The hash over that entry and all before it, 64 hexadecimal digits.
    """

    sequence: int
    chain_hash: str

    def __str__(self) -> str:
        """Return it as `SEQUENCE:HASH`, the form in which it is published."""
        return f"{self.sequence}:{self.chain_hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the head that a text names.

        Raises:
            ValueError: It is not of the form `SEQUENCE:HASH`.

        Example:
            >>> Head.parse("12:" + 64 * "a").sequence
            12
        """
        sequence, _, chain_hash = text.strip().partition(":")
        if not sequence.isdecimal() or len(bytes.fromhex(chain_hash)) != len(GENESIS.chain_hash) // 2:
            msg = f"{text!r} is no head: write it as in the log, SEQUENCE:HASH with 64 hexadecimal digits"
            raise ValueError(msg)
        return cls(int(sequence), chain_hash.lower())

    def followed_by(self, entry_id: UUID, mac: str, sealed_at: datetime, key: bytes) -> Head:
        """Return the next head; the arguments are those of `seal_text`, and the audit key."""
        text = seal_text(self.sequence + 1, self.chain_hash, str(entry_id), mac, sealed_at)
        return Head(self.sequence + 1, hmac.digest(key, text, "sha256").hex())


def seal_text(sequence: int, hash_before: str, entry_id: str, mac: str, sealed_at: datetime) -> bytes:
    """Return what a chain hash is the HMAC-SHA256 over.

    Args:
        sequence: The place of the entry in the chain.
        hash_before: The chain hash of the place before it.
        entry_id: The entry, as 36 characters.
        mac: Its MAC.
        sealed_at: When it was sealed, which counts to the microsecond.
    """
    return f"{_LABEL}|{hash_before}|{sequence}|{entry_id.replace('-', '')}|{mac}|{to_microseconds(sealed_at)}".encode()


GENESIS: Final = Head(0, "0" * 64)
"""What stands before the first entry."""


class SealedEntry(NamedTuple):
    """An entry at its place in the chain, as it was written.

    Attributes:
        sequence: Its place.
        chain_hash: The hash over it and all before it.
        sealed_at: When it was sealed, by the store's clock.
        entry_id: The entry that was sealed.
        mac: The MAC that was written with it; None: the entry is not there.
        facts: Its fields, by their names; None: the entry is not there.
    """

    sequence: int
    chain_hash: str
    sealed_at: datetime
    entry_id: str
    mac: str | None
    facts: dict[str, Any] | None


# Sealing -------------------------------------------------------------------------------------------------------------

_WAITS = sa.exists().where(audit_entries.c.id == audit_unsealed.c.entry_id)
_ANY_WAITING = sa.select(sa.literal(1)).select_from(audit_unsealed).where(_WAITS).limit(1)
_WAITING = (
    sa.select(audit_entries.c.id, audit_entries.c.mac, store_now().label("now"))
    .join(audit_unsealed, audit_unsealed.c.entry_id == audit_entries.c.id)
    .order_by(audit_entries.c.id)
    .limit(sa.bindparam("most"))
)
_HEAD = sa.select(audit_seals.c.sequence, audit_seals.c.chain_hash).order_by(audit_seals.c.sequence.desc()).limit(1)
_SEALED = sa.delete(audit_unsealed).where(one_of(audit_unsealed.c.entry_id, "ids"))
_KEY: Final = "(hashtext('mainspring audit chain'), cast(cast('mainspring.audit_seals' as regclass) as oid)::int)"
_TRY_LOCK = sa.text(f"select pg_try_advisory_xact_lock{_KEY}")
_LOCK = sa.text(f"select pg_advisory_xact_lock{_KEY}")


def is_waiting(connection: sa.Connection) -> bool:
    """Whether any entry waits for its seal: one look at a table that is nearly always empty."""
    return connection.execute(_ANY_WAITING).scalar() is not None


def seal(connection: sa.Connection, key: bytes, *, most: int = BATCH) -> int:
    """Seal the entries that wait, and return how many.

    One sealer is at work at a time, whichever node it runs on; any other one finds nothing to do.

    Args:
        connection: Where to run, in a transaction of its own.
        key: The audit key.
        most: How many entries at most.
    """
    if not _chain_is_free(connection):
        return 0
    waiting = connection.execute(_WAITING, {"most": most}).all()
    if not waiting:
        return 0
    seals: list[dict[str, object]] = []
    last = head(connection)
    for row in waiting:
        last = last.followed_by(row.id, row.mac, row.now, key)
        seals.append({
            "sequence": last.sequence, "entry_id": row.id, "chain_hash": last.chain_hash, "sealed_at": row.now
        })  # fmt: skip
    connection.execute(sa.insert(audit_seals), seals)
    connection.execute(_SEALED, {"ids": [row.id for row in waiting]})
    return len(seals)


def head(connection: sa.Connection) -> Head:
    """Return the present end of the chain."""
    row = connection.execute(_HEAD).first()
    return GENESIS if row is None else Head(row.sequence, row.chain_hash)


def take_chain(connection: sa.Connection) -> None:
    """Keep the chain as it is until the transaction ends. On SQLite a transaction that writes is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)


def _chain_is_free(connection: sa.Connection) -> bool:
    return connection.dialect.name != "postgresql" or bool(connection.execute(_TRY_LOCK).scalar_one())


# Reading -------------------------------------------------------------------------------------------------------------

ENTRY_COLUMNS: Final = tuple(audit_entries.c[name] for name in ENTRY_FIELDS)
_FACTS: Final = tuple(name for name in ENTRY_FIELDS if name != "id")  # which the seal has as well
_CHAIN: sa.Executable = (
    sa.select(
        audit_seals.c.sequence,
        audit_seals.c.chain_hash,
        audit_seals.c.sealed_at,
        sa.type_coerce(audit_seals.c.entry_id, sa.String),  # its hashes are made over the text
        audit_entries.c.mac,
        *(audit_entries.c[name] for name in _FACTS),
    )
    .outerjoin_from(audit_seals, audit_entries, audit_entries.c.id == audit_seals.c.entry_id)
    .where(audit_seals.c.sequence > sa.bindparam("after"))
    .order_by(audit_seals.c.sequence)
    .limit(sa.bindparam("most"))
)
_FIRST = sa.select(sa.func.min(audit_seals.c.sequence))
_NOBODY_SEALED = ~sa.exists().where(audit_seals.c.entry_id == audit_entries.c.id)
_LOST_SEALS = (
    sa.select(audit_entries.c.id)
    .where(_NOBODY_SEALED, ~sa.exists().where(audit_unsealed.c.entry_id == audit_entries.c.id))
    .order_by(audit_entries.c.id)
    .limit(1)
)
_LOST_ENTRIES = sa.select(audit_unsealed.c.entry_id).where(~_WAITS).order_by(audit_unsealed.c.entry_id).limit(1)
_WAITING_ENTRIES: sa.Executable = (
    sa.select(audit_entries.c.mac, *ENTRY_COLUMNS)
    .join(audit_unsealed, audit_unsealed.c.entry_id == audit_entries.c.id)
    .order_by(audit_entries.c.id)
)


def sealed_after(connection: sa.Connection, sequence: int, *, most: int = BATCH) -> list[SealedEntry]:
    """Return the next entries of the chain, in their order.

    Args:
        connection: Where to read.
        sequence: The sequence of the last one before.
        most: How many at most.
    """
    rows: Iterable[Any] = connection.execute(_CHAIN, {"after": sequence, "most": most})
    return [
        SealedEntry(
            place,
            chain_hash,
            sealed_at,
            (entry_id := str(given_id)),
            mac,
            None if mac is None else {"id": entry_id, **dict(zip(_FACTS, facts, strict=True))},
        )
        for place, chain_hash, sealed_at, given_id, mac, *facts in rows
    ]


def latest(
    connection: sa.Connection, scope: Scope, *, actor: str | None, target: tuple[str, str] | None, most: int
) -> list[AuditEntry]:
    """Return entries, the newest first.

    Args:
        connection: Where to read.
        scope: Whose entries are seen.
        actor: What this actor did, alone.
        target: What was done to this kind of thing and this id, alone.
        most: How many at most.
    """
    conditions = [audit_entries.c.environment == scope.environment]
    if scope.organization_id is not None:
        conditions.append(audit_entries.c.organization_id == scope.organization_id)
    if actor is not None:
        conditions.append(audit_entries.c.actor == actor)
    if target is not None:
        conditions += [audit_entries.c.target_kind == target[0], audit_entries.c.target_id == target[1]]
    newest: sa.Executable = (
        sa.select(audit_entries.c.mac, *ENTRY_COLUMNS)
        .where(*conditions)
        .order_by(audit_entries.c.id.desc())
        .limit(most)
    )
    return [entry for entry, _ in with_macs(connection.execute(newest))]


def first_sequence(connection: sa.Connection) -> int | None:
    """Return the sequence with which the chain begins here; None: nothing is sealed."""
    return connection.execute(_FIRST).scalar()


def waiting_entries(connection: sa.Connection) -> list[tuple[AuditEntry, str]]:
    """Return the entries that wait for their seal, each with the MAC that was written with it."""
    return with_macs(connection.execute(_WAITING_ENTRIES))


def with_macs(rows: Iterable[Any]) -> list[tuple[AuditEntry, str]]:
    """Return entries from rows of a MAC and `ENTRY_COLUMNS`."""
    return [(AuditEntry(*facts), mac) for mac, *facts in rows]


def entry_without_seal(connection: sa.Connection) -> UUID | None:
    """Return an entry that has no seal and does not wait for one."""
    return connection.execute(_LOST_SEALS).scalar()


def seal_without_entry_to_come(connection: sa.Connection) -> UUID | None:
    """Return the id of an entry that waits for its seal and is not there."""
    return connection.execute(_LOST_ENTRIES).scalar()
