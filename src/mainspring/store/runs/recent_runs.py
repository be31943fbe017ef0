"""The last runs of each of some jobs, for the strip that shows them: one statement, however many jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.access import Scope

_ended = executions.c


@dataclass(frozen=True, slots=True)
class RecentRun:
    """A run that has ended.

    Attributes:
        id: Its id.
        status: How it ended.
        started_at: When its last attempt began.
        duration_ms: How long that took.
    """

    id: UUID
    status: Status
    started_at: datetime
    duration_ms: int | None


def find(connection: sa.Connection, scope: Scope, names: Sequence[str], most: int = 24) -> dict[str, list[RecentRun]]:
    """Return the last runs of jobs, the oldest first.

    Each job is a part of the statement with a limit of its own, so that one that runs every second hides no other and
    costs no more: the index on job and start is read backwards, `most` entries for each.

    Args:
        connection: Where to read.
        scope: Whose runs.
        names: The jobs.
        most: How many runs of each, at most.
    """
    found: dict[str, list[RecentRun]] = {name: [] for name in names}
    if not names:
        return found
    parts = [_of_one(scope, name, most) for name in names]
    for row in connection.execute(sa.union_all(*parts)):
        found[row.job_name].append(RecentRun(row.id, Status(row.status), row.started_at, row.duration_ms))
    for runs in found.values():
        runs.sort(key=lambda run: run.started_at)
    return found


def _of_one(scope: Scope, name: str, most: int) -> sa.Select[tuple[object, ...]]:
    conditions = [_ended.environment == scope.environment, _ended.job_name == name, _ended.started_at.is_not(None)]
    if scope.organization_id is not None:
        conditions.append(_ended.organization_id == scope.organization_id)
    if scope.user_id is not None:
        conditions.append(_ended.user_id == scope.user_id)
    newest = (
        sa.select(_ended.id, _ended.job_name, _ended.status, _ended.started_at, _ended.duration_ms)
        .where(*conditions)
        .order_by(_ended.started_at.desc(), _ended.id.desc())
        .limit(most)
        .subquery()
    )
    return sa.select(newest)
