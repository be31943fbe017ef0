"""The front of the audit moves into files, is verified there, and the store goes on from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.errors import IntegrityError, StoreError
from mainspring.security.audit_archive import verify_archive, verify_archives
from mainspring.security.audit_chain import BrokenChainError, Flaw
from mainspring.store.auditing import audit_chain
from mainspring.store.auditing.audit_chain import GENESIS, Head
from mainspring.store.tables import audit_entries, audit_seals, audit_unsealed
from tests.audited_things import audit_trail
from tests.store.audit_trail import KEY, Trail, entry_at, seal_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import StoreClock


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
        end = (await trail.database.read(audit_chain.head)).sequence
        segment = await trail.archive(path, through=end - 1)
        assert segment.last.sequence == end - 1
        assert (await trail.verify()).before == segment.last
        clock.advance(10)
        await trail.seal()
    store = await trail.verify(verify_archives(files, KEY) or GENESIS)
    assert [segment.entries for segment in (verify_archive(path, KEY) for path in files)] == [4, 6]
    assert (store.before.sequence, store.entries) == (10, 2)
    trails = await trail.database.read(lambda c: audit_trail(c, Scope("test"), target_id="chain"))
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
