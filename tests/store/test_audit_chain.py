"""The chain of the audit: sealed in the order of becoming visible, and broken wherever somebody lays hands on it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.security.audit_chain import BrokenChainError, Flaw
from mainspring.store.auditing import audit_chain
from mainspring.store.auditing.audit_chain import GENESIS
from mainspring.store.auditing.audit_entries import insert_audit_entry
from mainspring.store.tables import audit_entries, audit_seals, audit_unsealed
from tests.store.audit_trail import KEY, LENGTH, PLACES, TAMPERINGS, Trail, entry_at, seal_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld


# Sealing -------------------------------------------------------------------------------------------------------------


async def test_entries_are_sealed_once_and_an_intact_chain_is_told_with_its_head(trail: Trail) -> None:
    await trail.write(trail.entry(1), trail.entry(2))
    assert await trail.database.read(audit_chain.is_waiting)
    assert [await trail.seal(), await trail.seal()] == [2, 0]
    assert not await trail.database.read(audit_chain.is_waiting)
    await trail.write(trail.entry(3))
    waiting = await trail.verify()
    assert (waiting.head.sequence, waiting.waiting, waiting.waiting_since) == (2, 1, trail.entry(3).at)
    await trail.seal()
    verified = await trail.verify()
    assert (verified.before, verified.entries, verified.waiting) == (GENESIS, 3, 0)
    assert await trail.database.read(audit_chain.head) == verified.head


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
        insert_audit_entry(connection, late, KEY)
        written.set()
        await_only(commit.wait())

    transaction = world.spawn(postgresql.tx(slow), name="slow")
    await written.wait()
    await trail.write(early)
    assert await trail.seal() == 1
    commit.set()
    await transaction
    assert await trail.seal() == 1
    chain = await postgresql.read(lambda connection: audit_chain.sealed_after(connection, 0))
    assert [sealed.entry_id for sealed in chain] == [str(early.id), str(late.id)]
    assert (await trail.verify()).entries == 2


async def test_what_is_rolled_back_leaves_no_gap(trail: Trail) -> None:
    def fail(connection: sa.Connection) -> None:
        insert_audit_entry(connection, trail.entry(1), KEY)
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
        audit_chain.take_chain(connection)
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
