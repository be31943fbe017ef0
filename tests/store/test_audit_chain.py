"""The chain of the audit: sealed in the order of becoming visible, and broken wherever somebody lays hands on it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.domain.access import Actor, Scope
from mainspring.errors import IntegrityError, StoreError
from mainspring.security.audit import Audit
from mainspring.security.audit_archive import archive, verify_archive, verify_archives
from mainspring.security.audit_chain import BrokenChainError, Flaw, verify_store
from mainspring.store import access, audit
from mainspring.store.access import AuditEntry
from mainspring.store.audit import GENESIS, Head
from mainspring.store.tables import audit_entries, audit_seals, audit_unsealed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mainspring.security.audit_archive import Segment
    from mainspring.security.audit_chain import Verified
    from mainspring.store.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock

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
                access.insert_audit_entry(connection, entry, KEY)

        await self.database.tx(work)

    async def seal(self, most: int = audit.BATCH) -> int:
        """Seal what waits."""
        return await self.database.tx(lambda connection: audit.seal(connection, KEY, most=most))

    async def fill(self, count: int = LENGTH) -> None:
        """Write and seal entries, and note every head."""
        await self.write(*(self.entry(number) for number in range(count)))
        await self.seal()
        self.heads = [sealed.head for sealed in await self.database.read(lambda c: audit.sealed_after(c, 0))]

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


@pytest.fixture
def trail(database: Database, owned: Database, world: RealWorld) -> Trail:
    return Trail(database, owned, world)


def seal_at(sequence: int) -> sa.ColumnElement[bool]:
    return audit_seals.c.sequence == sequence


def entry_at(sequence: int) -> sa.ColumnElement[bool]:
    return audit_entries.c.id == sa.select(audit_seals.c.entry_id).where(seal_at(sequence)).scalar_subquery()


# Sealing -------------------------------------------------------------------------------------------------------------


async def test_entries_are_sealed_once_and_an_intact_chain_is_told_with_its_head(trail: Trail) -> None:
    await trail.write(trail.entry(1), trail.entry(2))
    assert await trail.database.read(audit.is_waiting)
    assert [await trail.seal(), await trail.seal()] == [2, 0]
    assert not await trail.database.read(audit.is_waiting)
    await trail.write(trail.entry(3))
    waiting = await trail.verify()
    assert (waiting.head.sequence, waiting.waiting, waiting.waiting_since) == (2, 1, trail.entry(3).at)
    await trail.seal()
    verified = await trail.verify()
    assert (verified.before, verified.entries, verified.waiting) == (GENESIS, 3, 0)
    assert await trail.database.read(audit.head) == verified.head


async def test_an_empty_audit_is_intact(trail: Trail) -> None:
    assert (await trail.verify()).head == GENESIS


async def test_batches_make_the_same_chain(trail: Trail) -> None:
    await trail.write(*(trail.entry(number) for number in range(7)))
    assert [await trail.seal(most=3) for _ in range(4)] == [3, 3, 1, 0]
    assert (await trail.verify()).entries == 7


async def test_an_entry_whose_transaction_took_long_is_sealed_when_it_becomes_visible(
    postgresql: Database, postgresql_owner: Database, world: RealWorld
) -> None:
    trail = Trail(postgresql, postgresql_owner, world)
    late, early = sorted((trail.entry(1), trail.entry(2)), key=lambda entry: entry.id)
    written, commit = asyncio.Event(), asyncio.Event()

    def slow(connection: sa.Connection) -> None:
        access.insert_audit_entry(connection, late, KEY)
        written.set()
        await_only(commit.wait())

    transaction = world.spawn(postgresql.tx(slow), name="slow")
    await written.wait()
    await trail.write(early)
    assert await trail.seal() == 1
    commit.set()
    await transaction
    assert await trail.seal() == 1
    chain = await postgresql.read(lambda connection: audit.sealed_after(connection, 0))
    assert [sealed.entry_id for sealed in chain] == [early.id, late.id]
    assert (await trail.verify()).entries == 2


async def test_what_is_rolled_back_leaves_no_gap(trail: Trail) -> None:
    def fail(connection: sa.Connection) -> None:
        access.insert_audit_entry(connection, trail.entry(1), KEY)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await trail.database.tx(fail)
    await trail.fill(2)
    assert (await trail.verify()).head.sequence == 2


async def test_of_many_sealers_one_at_a_time_is_at_work(trail: Trail) -> None:
    async def write() -> None:
        for number in range(20):
            await trail.write(trail.entry(number))

    async def seal_all() -> None:
        for _ in range(40):
            await trail.seal(most=3)

    await asyncio.gather(write(), write(), *(seal_all() for _ in range(4)))
    while await trail.seal():
        pass
    assert (await trail.verify()).entries == 40


async def test_a_second_sealer_finds_the_chain_taken(postgresql: Database, world: RealWorld) -> None:
    trail = Trail(postgresql, postgresql, world)
    await trail.write(trail.entry(1))
    holding, done = asyncio.Event(), asyncio.Event()

    def hold(connection: sa.Connection) -> None:
        audit.take_chain(connection)
        holding.set()
        await_only(done.wait())

    first = world.spawn(postgresql.tx(hold), name="holder")
    await holding.wait()
    assert await trail.seal() == 0
    done.set()
    await first
    assert await trail.seal() == 1


# Tampering -----------------------------------------------------------------------------------------------------------

EDITS: Sequence[tuple[str, Any]] = (
    ("actor", "somebody else"),
    ("action", "execution.create"),
    ("target_id", "another"),
    ("allowed", False),
    ("reason", None),
    ("before", "{}"),
    ("after", None),
    ("address", "10.0.0.1"),
    ("organization_id", "globex"),
    ("environment", "production"),
    ("at", datetime(2020, 1, 1, tzinfo=UTC)),
    ("mac", "0" * 64),
)


async def test_each_changed_field_is_named_with_the_first_bad_sequence(trail: Trail) -> None:
    await trail.fill()
    originals = {row["id"]: row for row in await trail.rows(audit_entries)}
    seals = {row["sequence"]: row["entry_id"] for row in await trail.rows(audit_seals)}
    for number, sequence in enumerate(PLACES):
        column, value = EDITS[number % len(EDITS)]
        original = originals[seals[sequence]]
        same = audit_entries.c.id == original["id"]
        await trail.do(sa.update(audit_entries).where(same).values({column: value}))
        assert await trail.broken() == (sequence, Flaw.ENTRY_CHANGED), column
        await trail.do(sa.update(audit_entries).where(same).values({column: original[column]}))
    assert (await trail.verify()).entries == LENGTH


async def test_each_entry_that_is_deleted_from_the_middle_is_named(trail: Trail) -> None:
    await trail.fill()
    entries = {row["id"]: row for row in await trail.rows(audit_entries)}
    seals = {row["sequence"]: row for row in await trail.rows(audit_seals)}
    for number, sequence in enumerate(PLACES):
        seal, entry = seals[sequence], entries[seals[sequence]["entry_id"]]
        no_entry, no_seal = (
            sa.delete(audit_entries).where(audit_entries.c.id == entry["id"]),
            sa.delete(audit_seals).where(seal_at(sequence)),
        )
        # By turns: the entry alone, its seal alone, both.
        deletions, flaw = (
            ((no_entry,), Flaw.ENTRY_MISSING),
            ((no_seal,), Flaw.SEAL_MISSING),
            ((no_entry, no_seal), Flaw.SEAL_MISSING),
        )[number % 3]
        await trail.do(*deletions)
        assert await trail.broken() == (sequence, flaw)
        if no_entry in deletions:
            await trail.do(sa.insert(audit_entries).values(entry))
        if no_seal in deletions:
            await trail.do(sa.insert(audit_seals).values(seal))
    assert (await trail.verify()).entries == LENGTH


async def test_each_cut_of_the_tail_is_named_by_whoever_has_noted_a_head(trail: Trail) -> None:
    await trail.fill()
    entries = {row["id"]: row for row in await trail.rows(audit_entries)}
    seals = {row["sequence"]: row for row in await trail.rows(audit_seals)}
    for sequence in PLACES:
        tail = [seals[place] for place in range(sequence, LENGTH + 1)]
        await trail.do(
            sa.delete(audit_entries).where(audit_entries.c.id.in_([seal["entry_id"] for seal in tail])),
            sa.delete(audit_seals).where(audit_seals.c.sequence >= sequence),
        )
        assert await trail.broken(trail.heads[-1]) == (sequence, Flaw.TAIL_MISSING)
        assert (await trail.verify()).entries == sequence - 1
        await trail.put(audit_entries, [entries[seal["entry_id"]] for seal in tail])
        await trail.put(audit_seals, tail)
    assert (await trail.verify(trail.heads[-1])).entries == LENGTH


async def test_each_swap_of_two_places_is_named(trail: Trail) -> None:
    await trail.fill()
    seals = {row["sequence"]: row for row in await trail.rows(audit_seals)}
    for number in range(TAMPERINGS):
        first, second = sorted((PLACES[number], PLACES[number - 1 - number % 5]))
        # By turns: the entries under two seals, and two whole seals.
        swapped = ("entry_id",) if number % 2 else ("entry_id", "chain_hash", "sealed_at")
        mine, yours = seals[first], seals[second]
        pair = sa.delete(audit_seals).where(audit_seals.c.sequence.in_([first, second]))
        exchanged = [
            mine | {name: yours[name] for name in swapped},
            yours | {name: mine[name] for name in swapped},
        ]
        await trail.do(pair)
        await trail.put(audit_seals, exchanged)
        assert await trail.broken() == (first, Flaw.SEAL_CHANGED)
        await trail.do(pair)
        await trail.put(audit_seals, [mine, yours])
    assert (await trail.verify()).entries == LENGTH


async def test_a_tail_that_was_written_anew_differs_from_the_noted_head(trail: Trail) -> None:
    await trail.fill(5)
    await trail.do(
        sa.delete(audit_entries).where(entry_at(5)),
        sa.delete(audit_seals).where(seal_at(5)),
    )
    await trail.write(trail.entry(99))
    await trail.seal()
    assert (await trail.verify()).entries == 5
    assert await trail.broken(trail.heads[-1]) == (5, Flaw.HEAD_DIFFERS)


async def test_the_last_seal_cannot_be_taken_away_either(trail: Trail) -> None:
    await trail.fill(5)
    await trail.do(sa.delete(audit_seals).where(seal_at(5)))
    assert await trail.broken() == (5, Flaw.SEAL_MISSING)


async def test_what_waits_for_its_seal_is_guarded_by_its_own_mac(trail: Trail) -> None:
    await trail.fill(5)
    entry = trail.entry(6)
    await trail.write(entry)
    await trail.do(sa.update(audit_entries).where(audit_entries.c.id == entry.id).values(actor="me"))
    assert await trail.broken() == (6, Flaw.ENTRY_CHANGED)
    await trail.do(sa.delete(audit_entries).where(audit_entries.c.id == entry.id))
    assert await trail.broken() == (6, Flaw.ENTRY_MISSING)


async def test_an_entry_that_was_smuggled_in_is_named(trail: Trail) -> None:
    await trail.fill(5)
    forged = trail.entry(6)
    await trail.do(sa.insert(audit_entries).values(**asdict(forged), mac=forged.mac(b"another key")))
    assert await trail.broken() == (6, Flaw.SEAL_MISSING)
    await trail.do(sa.insert(audit_unsealed).values(entry_id=forged.id))
    await trail.seal()
    assert await trail.broken() == (6, Flaw.ENTRY_CHANGED)


async def test_another_key_than_that_of_the_chain_fits_nothing(trail: Trail) -> None:
    await trail.fill(3)
    with pytest.raises(BrokenChainError, match=r"at sequence 1: .* another secret key"):
        await trail.verify(key=b"another key")


# Archives ------------------------------------------------------------------------------------------------------------


async def test_the_front_moves_into_files_and_the_store_goes_on_from_there(
    trail: Trail, clock: StoreClock, tmp_path: Path
) -> None:
    files = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for path in files:
        await trail.write(*(trail.entry(number) for number in range(4)))
        await trail.seal()
        clock.advance(10)
        await trail.write(trail.entry(4))
        await trail.seal()
        end = (await trail.database.read(audit.head)).sequence
        segment = await trail.archive(path, through=end - 1)
        assert segment.last.sequence == end - 1
        assert (await trail.verify()).before == segment.last
        clock.advance(10)
        await trail.seal()
    store = await trail.verify(verify_archives(files, KEY) or GENESIS)
    assert [segment.entries for segment in (verify_archive(path, KEY) for path in files)] == [4, 6]
    assert (store.before.sequence, store.entries) == (10, 2)
    trails = await trail.database.read(lambda c: access.audit_trail(c, Scope("test"), target_id="chain"))
    assert [(entry.action, entry.actor) for entry, _ in trails] == [("audit.archive", "terminal:root")]
    with pytest.raises(IntegrityError, match=r"begins at 11 here, and 4 is in an archive"):
        await trail.verify(verify_archives(files[:1], KEY) or GENESIS)
    with pytest.raises(BrokenChainError, match="does not continue the archive before it"):
        verify_archives(files[::-1], KEY)


async def test_an_archive_that_was_changed_names_the_first_bad_sequence(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "archive.jsonl"
    await trail.fill(6)
    await trail.archive(path, through=5)
    lines = path.read_bytes().splitlines(keepends=True)

    def written(changed: Sequence[bytes]) -> tuple[int, Flaw]:
        path.write_bytes(b"".join(changed))
        with pytest.raises(BrokenChainError) as caught:
            verify_archive(path, KEY)
        return caught.value.sequence, caught.value.flaw

    assert written([*lines[:3], lines[3].replace(b"acme", b"else"), *lines[4:]]) == (3, Flaw.ENTRY_CHANGED)
    assert written([*lines[:3], *lines[4:]]) == (3, Flaw.SEAL_MISSING)
    assert written(lines[:-1]) == (5, Flaw.TAIL_MISSING)
    assert written([lines[0], lines[2], lines[1], *lines[3:]]) == (1, Flaw.SEAL_MISSING)
    assert written([lines[0].replace(b'"last":"5', b'"last":"4'), *lines[1:-1]]) == (1, Flaw.ARCHIVE_CHANGED)
    assert written([*lines[:2], b"[]\n", *lines[3:]]) == (2, Flaw.ARCHIVE_CHANGED)
    path.write_bytes(b"what is this\n")
    with pytest.raises(IntegrityError, match="is no archive"):
        verify_archive(path, KEY)


async def test_a_front_that_was_removed_without_an_archive_is_named(trail: Trail) -> None:
    await trail.fill(6)
    await trail.do(
        sa.delete(audit_entries).where(entry_at(1)),
        sa.delete(audit_seals).where(seal_at(1)),
    )
    assert await trail.broken() == (1, Flaw.SEAL_MISSING)
    forged = trail.entry(
        action="audit.archive",
        target_kind="audit",
        target_id="chain",
        after=f'{{"last":1,"chainHash":"{trail.heads[0].chain_hash}"}}',
    )
    await trail.do(
        sa.insert(audit_entries).values(**asdict(forged), mac=forged.mac(b"no key")),
        sa.insert(audit_unsealed).values(entry_id=forged.id),
    )
    assert await trail.broken() == (1, Flaw.SEAL_MISSING)


async def test_a_broken_chain_is_not_archived(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "archive.jsonl"
    await trail.fill(6)
    await trail.do(sa.update(audit_entries).where(entry_at(2)).values(actor="me"))
    with pytest.raises(BrokenChainError):
        await trail.archive(path, through=3)
    assert len(await trail.rows(audit_seals)) == 6


async def test_nothing_is_removed_if_the_file_does_not_hold_it(
    trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.jsonl"
    await trail.fill(6)

    def damaged(_sealed: object) -> dict[str, object]:
        return {}

    monkeypatch.setattr("mainspring.security.audit_archive._record", damaged)  # as a broken disk might
    with pytest.raises(BrokenChainError, match="cannot be read"):
        await trail.archive(path, through=3)
    assert len(await trail.rows(audit_seals)) == 6
    monkeypatch.undo()
    assert (await trail.archive(path, through=3)).entries >= 3


async def test_the_newest_entry_stays_and_a_file_is_never_overwritten(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "archive.jsonl"
    await trail.fill(1)
    with pytest.raises(StoreError, match="beside the newest entry, which stays"):
        await trail.archive(path, through=1)
    await trail.fill(3)
    path.write_text("mine")
    with pytest.raises(StoreError, match="cannot be written: File exists"):
        await trail.archive(path, through=3)
    assert path.read_text() == "mine"
    assert len(await trail.rows(audit_seals)) == 4


async def test_the_role_of_the_nodes_may_not_archive(
    postgresql: Database, postgresql_owner: Database, world: RealWorld, tmp_path: Path
) -> None:
    trail = Trail(postgresql, postgresql_owner, world)
    await trail.fill(3)
    with pytest.raises(StoreError, match="naming the owner of the schema"):
        await trail.archive(tmp_path / "archive.jsonl", through=2, database=postgresql)
    assert not (tmp_path / "archive.jsonl").exists()


@pytest.mark.parametrize("text", ["", "7", "7:abc", "x:" + 64 * "0", "1:" + 63 * "0" + "x", "-1:" + 64 * "0"])
def test_what_is_no_head_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"head|hex"):
        Head.parse(text)
