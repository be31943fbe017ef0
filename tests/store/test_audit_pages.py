"""Pages of the audit hold what was asked for and what a scope sees, the newest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.access import Scope
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.auditing.audit_entries import AuditEntry
    from tests.store.audit_trail import Trail

START = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
async def written(trail: Trail) -> list[AuditEntry]:
    entries = [
        trail.entry(0, actor="ada", action="job.trigger", target_kind="job", target_id="digest"),
        trail.entry(1, actor="bob", action="job.trigger", target_kind="job", target_id="sync", allowed=False),
        trail.entry(2, actor="ada", action="job.disable", target_kind="job", target_id="digest"),
        trail.entry(3, actor="eve", action="user.create", target_kind="user", target_id="x", organization_id="globex"),
    ]
    for entry in entries:
        await trail.write(entry)
    return entries


async def page(trail: Trail, wanted: WantedEntries, scope: Scope | None = None, most: int = 10) -> list[UUID]:
    found = await trail.database.read(
        lambda connection: audit_pages.page(connection, scope or Scope("test"), wanted, most=most)
    )
    return [entry.id for entry in found]


def newest_first(entries: list[AuditEntry], *places: int) -> list[UUID]:
    return sorted((entries[place].id for place in places), reverse=True)


async def test_a_page_holds_what_was_asked_for_the_newest_first(trail: Trail, written: list[AuditEntry]) -> None:
    for wanted, places in (
        (WantedEntries(), (0, 1, 2, 3)),
        (WantedEntries(actor="ada"), (0, 2)),
        (WantedEntries(action="job.trigger"), (0, 1)),
        (WantedEntries(action="job."), (0, 1, 2)),
        (WantedEntries(target_kind="user"), (3,)),
        (WantedEntries(target_kind="job", target_id="digest"), (0, 2)),
        (WantedEntries(allowed=False), (1,)),
        (WantedEntries(since=START + timedelta(seconds=1), until=START + timedelta(seconds=3)), (1, 2)),
        (WantedEntries(action="%"), ()),
    ):
        assert await page(trail, wanted) == newest_first(written, *places), wanted


async def test_pages_follow_each_other_without_gap(trail: Trail, written: list[AuditEntry]) -> None:
    everything = newest_first(written, 0, 1, 2, 3)
    assert await page(trail, WantedEntries(), most=2) == everything[:2]
    assert await page(trail, WantedEntries(before=everything[1]), most=2) == everything[2:]


async def test_an_organization_sees_what_its_own_actors_did(trail: Trail, written: list[AuditEntry]) -> None:
    assert await page(trail, WantedEntries(), Scope("test", "globex")) == [written[3].id]
    assert await page(trail, WantedEntries(), Scope("elsewhere")) == []


async def test_the_chain_says_how_far_it_is_sealed(trail: Trail, written: list[AuditEntry]) -> None:
    before = await trail.database.read(audit_pages.chain_state)
    assert (before.sequence, before.sealed_at, before.waiting) == (0, None, len(written))
    await trail.seal()
    after = await trail.database.read(audit_pages.chain_state)
    assert (after.sequence, after.waiting) == (len(written), 0)
    assert after.sealed_at is not None
