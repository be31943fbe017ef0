"""Whether the audit is what was written: every entry, in its order, nothing missing, nothing added (F68)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import orjson

from mainspring.errors import IntegrityError
from mainspring.store.auditing import audit_archive, audit_chain
from mainspring.store.auditing.audit_chain import GENESIS, Head, seal_text
from mainspring.store.auditing.audit_entries import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from mainspring.store.auditing.audit_chain import SealedEntry
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Connection, Database

_PORTION: Final = 5_000


class Flaw(StrEnum):
    """What is wrong with a chain."""

    ENTRY_CHANGED = "entry_changed"
    ENTRY_MISSING = "entry_missing"
    SEAL_CHANGED = "seal_changed"
    SEAL_MISSING = "seal_missing"
    TAIL_MISSING = "tail_missing"
    HEAD_DIFFERS = "head_differs"
    ARCHIVE_CHANGED = "archive_changed"


class BrokenChainError(IntegrityError):
    """The audit is not what was written.

    Attributes:
        sequence: The first place in the chain that is wrong.
        flaw: What is wrong there.
    """

    code = "AUDIT_CHAIN_BROKEN"

    def __init__(self, sequence: int, flaw: Flaw, explanation: str) -> None:
        """Keep where it is broken, and how."""
        super().__init__(f"the audit is broken at sequence {sequence}: {explanation}")
        self.sequence = sequence
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain without a flaw.

    Attributes:
        before: The head before its first entry.
        head: Its end; worth noting elsewhere.
        waiting: How many more wait for their seal.
        waiting_since: When the oldest of those was written.
    """

    before: Head
    head: Head
    waiting: int = 0
    waiting_since: datetime | None = None

    @property
    def entries(self) -> int:
        """How many entries were looked at."""
        return self.head.sequence - self.before.sequence


class ChainWalk:
    """Walks along a chain, and stops at the first flaw.

    Args:
        key: The audit key.
        start: The head before the first entry to come.
        noted: Heads that somebody has noted: the chain must contain them.
    """

    def __init__(self, key: bytes, start: Head = GENESIS, noted: Iterable[Head] = ()) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")
        self._noted = {head.sequence: head for head in noted}
        self.start = start
        self.head = start
        self._compare_with_noted()

    @property
    def entries(self) -> int:
        """How many entries have been passed."""
        return self.head.sequence - self.start.sequence

    def take(self, sealed: SealedEntry) -> None:
        """Pass one entry.

        Raises:
            BrokenChainError: It does not continue the chain, or is not what was written.
        """
        expected = self.head.sequence + 1
        if sealed.sequence != expected:
            raise BrokenChainError(
                expected, Flaw.SEAL_MISSING, f"its seal was removed; the next one is {sealed.sequence}"
            )
        if sealed.facts is None or sealed.mac is None:
            raise BrokenChainError(expected, Flaw.ENTRY_MISSING, f"the entry {sealed.entry_id} was removed")
        if not self._is_mac_of(canonical_json(sealed.facts), sealed.mac):
            raise BrokenChainError(
                expected,
                Flaw.ENTRY_CHANGED,
                f"the entry {sealed.entry_id} was changed, or written with another secret key than the present one",
            )
        text = seal_text(expected, self.head.chain_hash, sealed.entry_id, sealed.mac, sealed.sealed_at)
        if not self._is_mac_of(text, sealed.chain_hash):
            raise BrokenChainError(
                expected,
                Flaw.SEAL_CHANGED,
                f"its seal was not made for the entry {sealed.entry_id} in this place: seals or entries were changed, "
                "swapped or replaced, or sealed with another secret key than the present one",
            )
        self.head = Head(expected, sealed.chain_hash)
        if self._noted:
            self._compare_with_noted()

    def _is_mac_of(self, text: bytes, mac: str) -> bool:
        keyed = self._keyed.copy()  # half the price of taking in the key again for each entry
        keyed.update(text)
        return hmac.compare_digest(keyed.hexdigest(), mac)

    def end(self) -> Head:
        """Return the head after the last entry.

        Raises:
            BrokenChainError: A noted head lies beyond it.
        """
        beyond = max(self._noted, default=0)
        if beyond > self.head.sequence:
            raise BrokenChainError(
                self.head.sequence + 1,
                Flaw.TAIL_MISSING,
                f"the chain ends before it, and a head was noted at {beyond}: the tail was cut off",
            )
        return self.head

    def _compare_with_noted(self) -> None:
        noted = self._noted.get(self.head.sequence)
        if noted is not None and noted != self.head:
            raise BrokenChainError(
                noted.sequence,
                Flaw.HEAD_DIFFERS,
                "the head that was noted there had another hash: the chain was cut before it and written anew",
            )


def fits(entry: AuditEntry, mac: str, key: bytes) -> bool:
    """Whether an entry is what was written with its MAC."""
    return hmac.compare_digest(entry.mac(key), mac)


async def verify_store(
    database: Database, key: bytes, *, noted: Sequence[Head] = (), tell: Callable[[int, int], None] | None = None
) -> Verified:
    """Verify the chain that is in the store.

    Args:
        database: The store.
        key: The audit key.
        noted: Heads that somebody has noted.
        tell: Called with how many entries were looked at, and how many there are.

    Raises:
        BrokenChainError: It has a flaw; the first one is told.
        IntegrityError: A noted head lies before the first entry here, so that nothing can be said about it.
    """
    while True:
        start = await database.read(lambda connection: _start(connection, key))
        try:
            return await _verify_from(database, key, start, noted, tell)
        except BrokenChainError:
            # An archive may have taken the front away under the walk: then there is another start to begin from.
            if await database.read(lambda connection: _start(connection, key)) == start:
                raise


async def _verify_from(
    database: Database, key: bytes, start: Head, noted: Sequence[Head], tell: Callable[[int, int], None] | None
) -> Verified:
    before = [head for head in noted if head.sequence < start.sequence]
    if before:
        raise IntegrityError(
            f"the chain begins at {start.sequence + 1} here, and {before[0].sequence} is in an archive: give the files "
            "of all archives from there on too"
        )
    walk = ChainWalk(key, start, noted)
    total = (await database.read(audit_chain.head)).sequence - start.sequence
    while portion := await database.read(
        lambda connection: audit_chain.sealed_after(connection, walk.head.sequence, most=_PORTION)
    ):
        for sealed in portion:
            walk.take(sealed)
        if tell is not None:
            tell(walk.entries, max(total, walk.entries))
    waiting = await database.read(lambda connection: _waiting(connection, key, walk))
    return Verified(
        before=start,
        head=walk.end(),
        waiting=len(waiting),
        waiting_since=min((entry.at for entry in waiting), default=None),
    )


def _start(connection: Connection, key: bytes) -> Head:
    """Return what stands before the first entry in the store: the last archive that the audit itself tells of.

    Raises:
        BrokenChainError: The first entries are missing, and no archive has them.
    """
    archived = [archived_through(entry) for entry, mac in audit_archive.archivals(connection) if fits(entry, mac, key)]
    start = max([GENESIS, *archived], key=lambda head: head.sequence)
    first = audit_chain.first_sequence(connection)
    if first is None and start is not GENESIS:
        raise BrokenChainError(start.sequence + 1, Flaw.TAIL_MISSING, "every entry since the last archive was removed")
    if first is not None and first > start.sequence + 1:
        raise BrokenChainError(
            start.sequence + 1,
            Flaw.SEAL_MISSING,
            f"the chain begins at {first} here, and the audit, as far as the present secret key can tell, knows of no "
            "archive that ends there",
        )
    return start


def archived_through(entry: AuditEntry) -> Head:
    """Return the last place of the archive that an entry tells of."""
    facts = orjson.loads(entry.after or "{}")
    return Head(int(facts["last"]), str(facts["chainHash"]))


def _waiting(connection: Connection, key: bytes, walk: ChainWalk) -> list[AuditEntry]:
    """Return the entries that wait for their seal.

    Raises:
        BrokenChainError: One of them is not what was written, or is gone; or an entry has lost its seal.
    """
    place = walk.end().sequence + 1
    lost = audit_chain.entry_without_seal(connection)
    if lost is not None:
        raise BrokenChainError(place, Flaw.SEAL_MISSING, f"the seal of the entry {lost} was removed")
    lost = audit_chain.seal_without_entry_to_come(connection)
    if lost is not None:
        raise BrokenChainError(place, Flaw.ENTRY_MISSING, f"the entry {lost} was removed before it was sealed")
    waiting = audit_chain.waiting_entries(connection)
    for entry, mac in waiting:
        if not fits(entry, mac, key):
            raise BrokenChainError(
                place, Flaw.ENTRY_CHANGED, f"the entry {entry.id}, which waits for its seal, was changed or added"
            )
    return [entry for entry, _ in waiting]
