"""Pages of the audit for people: what actors did or were denied, the newest first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store.auditing.audit_chain import ENTRY_COLUMNS, with_macs
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import audit_entries, audit_seals, audit_unsealed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.store.auditing.audit_entries import AuditEntry

_entry = audit_entries.c


@dataclass(frozen=True, slots=True)
class WantedEntries:
    """Which entries a page holds; None means any.

    Attributes:
        actor: What this actor did.
        action: This action, `noun.verb`, or all of a noun, `noun.`.
        target_kind: What was done to this kind of thing.
        target_id: What was done to this one.
        allowed: What was allowed, or what was denied.
        since: From this instant on.
        until: Before this instant.
        before: Those written before this one: the cursor.
    """

    actor: str | None = None
    action: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    allowed: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far the audit is sealed.

    Attributes:
        sequence: The place of the newest seal; 0: nothing is sealed.
        sealed_at: When it was made.
        waiting: How many entries wait for theirs.
        now: The store's present instant.
    """

    sequence: int
    sealed_at: datetime | None
    waiting: int
    now: datetime


def page(connection: sa.Connection, scope: Scope, wanted: WantedEntries, *, most: int) -> list[AuditEntry]:
    """Return entries that a scope sees, the newest first.

    Args:
        connection: Where to read.
        scope: Whose entries: of an organization, what its own actors did.
        wanted: Which of these.
        most: At most so many, at least 1.
    """
    newest: sa.Executable = (
        sa.select(_entry.mac, *ENTRY_COLUMNS).where(*_conditions(scope, wanted)).order_by(_entry.id.desc()).limit(most)
    )
    rows: Iterable[Any] = connection.execute(newest)
    return [entry for entry, _mac in with_macs(rows)]


def count(connection: sa.Connection, scope: Scope, wanted: WantedEntries, *, most: int) -> int:
    """Return how many entries a scope sees of what is wanted, whatever the cursor, counted no further than `most`."""
    conditions = _conditions(scope, replace(wanted, before=None))
    matching = sa.select(_entry.id).where(*conditions).limit(most).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(matching)).scalar_one()


_CHAIN = sa.select(
    sa.select(sa.func.max(audit_seals.c.sequence)).scalar_subquery().label("sequence"),
    sa.select(audit_seals.c.sealed_at)
    .order_by(audit_seals.c.sequence.desc())
    .limit(1)
    .scalar_subquery()
    .label("sealed_at"),
    sa.select(sa.func.count()).select_from(audit_unsealed).scalar_subquery().label("waiting"),
    store_now().label("now"),
)


def chain_state(connection: sa.Connection) -> ChainState:
    """Return how far the audit of the whole installation is sealed."""
    row = connection.execute(_CHAIN).one()
    return ChainState(row.sequence or 0, row.sealed_at, row.waiting, row.now)


def _conditions(scope: Scope, wanted: WantedEntries) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [_entry.environment == scope.environment]
    for column, value in (
        (_entry.organization_id, scope.organization_id),
        (_entry.actor, wanted.actor),
        (_entry.target_kind, wanted.target_kind),
        (_entry.target_id, wanted.target_id),
        (_entry.allowed, wanted.allowed),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.action is not None:
        is_noun = wanted.action.endswith(".")
        conditions.append(
            _entry.action.startswith(wanted.action, autoescape=True) if is_noun else _entry.action == wanted.action
        )
    if wanted.since is not None:
        conditions.append(_entry.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_entry.at < wanted.until)
    if wanted.before is not None:
        conditions.append(_entry.id < wanted.before)
    return conditions
