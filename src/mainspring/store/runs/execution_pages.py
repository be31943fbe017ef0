"""Pages of executions for the doors, the newest first, live and ended as one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.execution import FINAL, Stage, Status
from mainspring.store.runs import executions as single
from mainspring.store.runs.history_ends import HistoryEnds, WantedHistory
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution

MOST_COUNTED: Final = 10_000
_LIVE: Final = frozenset(Status) - FINAL
_live = executions_live.c
_ended = executions.c


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
    history = HistoryEnds(connection, _ended_ones(scope, wanted))
    ids = _newest_ids(connection, scope, wanted, history, skip + size + 1)
    shown = ids[skip : skip + size]
    # One that ended since is found in history; one that retention removed since is left out.
    found = {run.id: run for run in single.get_each(connection, scope, shown)}
    has_more = len(ids) > skip + size
    is_whole = wanted.before is None and not has_more
    total = len(ids) if is_whole else _count(connection, scope, replace(wanted, before=None), history)
    return Page(
        executions=[found[execution_id] for execution_id in shown if execution_id in found],
        total=min(total, MOST_COUNTED),
        is_capped=total > MOST_COUNTED,
        has_more=has_more,
    )


def _newest_ids(connection: sa.Connection, scope: Scope, wanted: Wanted, history: HistoryEnds, most: int) -> list[UUID]:
    found = set(history.first_ids(most=most))
    if live := _conditions_of_live(scope, wanted):
        newest = sa.select(_live.id).where(*live).order_by(_live.id.desc()).limit(most)
        found |= set(connection.execute(newest).scalars())
    return sorted(found, reverse=True)[:most]


def _count(connection: sa.Connection, scope: Scope, wanted: Wanted, history: HistoryEnds) -> int:
    total = history.count(most=MOST_COUNTED + 1)
    if live := _conditions_of_live(scope, wanted):
        some = sa.select(_live.id).where(*live).limit(MOST_COUNTED + 1).subquery()
        total += connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    return total


def _ended_ones(scope: Scope, wanted: Wanted) -> WantedHistory:
    asked = {name for name in (scope.organization_id, wanted.organization_id) if name is not None}
    return WantedHistory(
        scope.environment,
        statuses=FINAL if wanted.statuses is None else wanted.statuses & FINAL,
        names=None if wanted.job_name is None else [wanted.job_name],
        organizations=None if not asked else () if len(asked) > 1 else tuple(asked),
        of_tenants_alone=wanted.of_tenants_alone,
        user_id=scope.user_id,
        cursor=[] if wanted.before is None else [_ended.id < wanted.before],
    )


def _conditions_of_live(scope: Scope, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    statuses = _LIVE if wanted.statuses is None else wanted.statuses & _LIVE
    if not statuses:
        return []
    conditions = _seen(scope, wanted)
    return conditions if statuses == _LIVE else [*conditions, sa.or_(*map(_is_live_status, sorted(statuses)))]


def _is_live_status(status: Status) -> sa.ColumnElement[bool]:
    running = _live.stage == int(Stage.RUNNING)
    if status is Status.RUNNING:
        return running
    retrying = _live.retrying
    return sa.and_(~running, retrying if status is Status.RETRYING else ~retrying)


def _seen(scope: Scope, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [_live.environment == scope.environment]
    if wanted.of_tenants_alone:
        conditions.append(_live.organization_id.is_not(None))
    for column, value in (
        (_live.organization_id, scope.organization_id),
        (_live.user_id, scope.user_id),
        (_live.organization_id, wanted.organization_id),
        (_live.job_name, wanted.job_name),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.before is not None:
        conditions.append(_live.id < wanted.before)
    return conditions
