"""Silences: maintenance windows and mutes, with what they have held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.silence import Coverage, Silence, SilenceKind
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import silences

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Scope

_c = silences.c
_MINE: Final = _c.environment == sa.bindparam("b_environment")
_KEPT: Final = sa.select(silences).where(_MINE, _c.closed_at.is_(None)).order_by(_c.starts_at, _c.id)
_ONE: Final = sa.select(silences).where(_MINE, _c.id == sa.bindparam("b_id", type_=_c.id.type))
_CLOSE: Final = (
    sa.update(silences)
    .where(_MINE, _c.id == sa.bindparam("b_id", type_=_c.id.type), _c.closed_at.is_(None))
    .values(closed_at=store_now())
)


def kept(connection: sa.Connection, environment: str) -> list[Silence]:
    """Return the silences that are planned, in force, or over and not yet summed up."""
    return [_silence_of(row) for row in connection.execute(_KEPT, {"b_environment": environment})]


def find(connection: sa.Connection, scope: Scope, *, kind: SilenceKind, closed: bool, most: int = 100) -> list[Silence]:
    """Return silences of a kind, the newest first.

    Args:
        connection: Where to read.
        scope: Who asks; an organization sees none.
        kind: Which kind.
        closed: Whether those that are over are among them.
        most: At most so many.
    """
    if scope.organization_id is not None:
        return []
    query = sa.select(silences).where(_c.environment == scope.environment, _c.kind == kind.value)
    if not closed:
        query = query.where(_c.closed_at.is_(None))
    return [_silence_of(row) for row in connection.execute(query.order_by(_c.id.desc()).limit(most))]


def get(connection: sa.Connection, scope: Scope, silence_id: UUID) -> Silence | None:
    """Return a silence; None: there is none of this id, or the scope sees none."""
    if scope.organization_id is not None:
        return None
    row = connection.execute(_ONE, {"b_environment": scope.environment, "b_id": silence_id}).first()
    return None if row is None else _silence_of(row)


def add(
    connection: sa.Connection,
    environment: str,
    silence_id: UUID,
    *,
    kind: SilenceKind,
    covers: Coverage,
    target: str | None,
    starts_at: datetime | None,
    ends_at: datetime | None,
    reason: str | None,
    created_by: str,
) -> None:
    """Add a silence.

    Args:
        connection: Where to run.
        environment: Where it holds.
        silence_id: From `World.new_id`.
        kind: Why nobody is told.
        covers: What kind of thing `target` is.
        target: What it covers; None where that is all.
        starts_at: From when; None: from now on.
        ends_at: Until when; None: until it is closed.
        reason: Why.
        created_by: Who makes it.
    """
    connection.execute(
        sa.insert(silences).values(
            id=silence_id,
            environment=environment,
            kind=kind.value,
            covers=covers.value,
            target=target,
            starts_at=store_now() if starts_at is None else starts_at,
            ends_at=ends_at,
            reason=reason,
            created_by=created_by,
            created_at=store_now(),
        )
    )


def close(connection: sa.Connection, environment: str, silence_id: UUID) -> bool:
    """End a silence; False if it was over."""
    return connection.execute(_CLOSE, {"b_environment": environment, "b_id": silence_id}).rowcount == 1


def _silence_of(row: Any) -> Silence:  # noqa: ANN401 - a row of either driver
    return Silence(
        id=row.id,
        environment=row.environment,
        kind=SilenceKind(row.kind),
        covers=Coverage(row.covers),
        target=row.target,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        reason=row.reason,
        created_by=row.created_by,
        created_at=row.created_at,
        closed_at=row.closed_at,
    )
