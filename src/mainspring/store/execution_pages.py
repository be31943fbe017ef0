"""Pages of executions for the doors, the newest first, live and ended as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import FINAL, Stage, Status
from mainspring.store import executions as single
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution

MOST_COUNTED: Final = 10_000
_LIVE: Final = frozenset(Status) - FINAL


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which executions a page holds; None means any.

    Attributes:
        statuses: Those in one of these statuses.
        job_name: Those of this job.
        organization_id: Those of this organization, within what the scope sees.
        before: Those made before this one: the cursor.
        of_tenants_alone: Whether runs of the platform, which have no organization, are left out.
    """

    statuses: frozenset[Status] | None = None
    job_name: str | None = None
    organization_id: str | None = None
    before: UUID | None = None
    of_tenants_alone: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        executions: The newest first.
        total: How many match, counted no further than 10,000 and without regard to the cursor.
        is_capped: Whether there are more than `total`.
        has_more: Whether a further page follows.
    """

    executions: list[Execution]
    total: int
    is_capped: bool
    has_more: bool


def page(connection: sa.Connection, scope: Scope, wanted: Wanted, *, skip: int, size: int) -> Page:
    """Return one page of the executions that the scope sees.

    Only ids are skipped and sorted; rows with their payloads are read for the page alone.

    Args:
        connection: Where to read.
        scope: Whose rows are seen.
        wanted: Which of these.
        skip: How many to leave out, for pages by number.
        size: How many the page holds.
    """
    ids = _newest_ids(scope, wanted, skip + size + 1).subquery()
    chosen = connection.execute(sa.select(ids.c.id).order_by(ids.c.id.desc()).offset(skip)).scalars().all()
    # One that ended since is found in history; one that retention removed since is left out.
    found = [single.get(connection, scope, execution_id) for execution_id in chosen[:size]]
    total = connection.execute(_count(scope, wanted)).scalar_one()
    return Page(
        executions=[execution for execution in found if execution is not None],
        total=min(total, MOST_COUNTED),
        is_capped=total > MOST_COUNTED,
        has_more=len(chosen) > size,
    )


def _newest_ids(scope: Scope, wanted: Wanted, most: int) -> sa.Select[Any]:
    """Select the newest ids, at most `most`: each table gives its own first, so that an index serves either."""
    parts = [
        sa.select(sa.select(table.c.id).where(*conditions).order_by(table.c.id.desc()).limit(most).subquery().c.id)
        for table, conditions in _tables(scope, wanted, before=wanted.before)
    ]
    union = sa.union_all(*parts).subquery()
    return sa.select(union.c.id).order_by(union.c.id.desc()).limit(most)


def _count(scope: Scope, wanted: Wanted) -> sa.Select[int]:
    parts = [
        sa.select(sa.select(table.c.id).where(*conditions).limit(MOST_COUNTED + 1).subquery())
        for table, conditions in _tables(scope, wanted, before=None)
    ]
    union = sa.union_all(*parts).subquery()
    return sa.select(sa.func.count()).select_from(union)


def _tables(
    scope: Scope, wanted: Wanted, *, before: UUID | None
) -> list[tuple[sa.Table, list[sa.ColumnElement[bool]]]]:
    """Return the tables that may hold what is wanted, each with its conditions."""
    chosen: list[tuple[sa.Table, list[sa.ColumnElement[bool]]]] = []
    statuses = wanted.statuses if wanted.statuses is not None else frozenset(Status)
    if live := statuses & _LIVE:
        conditions = _seen(executions_live, scope, wanted, before)
        if live != _LIVE:
            conditions.append(sa.or_(*map(_is_live_status, sorted(live))))
        chosen.append((executions_live, conditions))
    if ended := statuses & FINAL:
        conditions = _seen(executions, scope, wanted, before)
        if ended != FINAL:
            conditions.append(executions.c.status.in_(sorted(ended)))
        chosen.append((executions, conditions))
    return chosen


def _is_live_status(status: Status) -> sa.ColumnElement[bool]:
    running = executions_live.c.stage == int(Stage.RUNNING)
    if status is Status.RUNNING:
        return running
    retrying = executions_live.c.retrying
    return sa.and_(~running, retrying if status is Status.RETRYING else ~retrying)


def _seen(table: sa.Table, scope: Scope, wanted: Wanted, before: UUID | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [table.c.environment == scope.environment]
    if wanted.of_tenants_alone:
        conditions.append(table.c.organization_id.is_not(None))
    for name, value in (
        ("organization_id", scope.organization_id),
        ("user_id", scope.user_id),
        ("organization_id", wanted.organization_id),
        ("job_name", wanted.job_name),
    ):
        if value is not None:
            conditions.append(table.c[name] == value)
    if before is not None:
        conditions.append(table.c.id < before)
    return conditions
