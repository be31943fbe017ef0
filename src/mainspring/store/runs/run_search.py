"""Finding runs: a filter of people as pages without deep offsets, as counts, and as the ids of a bulk action.

What has ended is found by `history_ends`, so that neither a rare failure among millions of successes nor a rare job
costs a scan; what no index knows is looked for within a window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import FINAL, Stage, Status
from mainspring.domain.run_filter_keys import JOB_NAME
from mainspring.store.engine.lists import is_among
from mainspring.store.runs import executions as single
from mainspring.store.runs.history_ends import HistoryEnds, WantedHistory
from mainspring.store.runs.run_search_conditions import NAMING, RunSearch, conditions, ids_before
from mainspring.store.tables import definitions, executions, executions_live

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution
    from mainspring.domain.run_filter import Term

MOST_COUNTED: Final = 10_000
_LIVE: Final = frozenset(Status) - FINAL
_live = executions_live.c
_NAMES = {"job": definitions.c.name, "group": definitions.c.job_group, "type": definitions.c.job_type}


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of runs.

    Attributes:
        runs: The newest first.
        has_newer: Whether a page of newer ones precedes it.
        has_older: Whether a page of older ones follows.
    """

    runs: list[Execution]
    has_newer: bool
    has_older: bool


def named(connection: sa.Connection, scope: Scope, search: RunSearch) -> RunSearch:
    """Return the search with the names of the jobs that its words about jobs mean: those of a group, for instance."""
    names: set[str] | None = None
    unwanted: set[str] = set()
    for term in search.filter.terms:
        if term.key not in NAMING:
            continue
        meant = _meant(connection, scope, term)
        if term.is_excluded:
            unwanted |= meant
        else:
            names = meant if names is None else names & meant
    return replace(
        search, names=None if names is None else tuple(sorted(names)), unwanted_names=tuple(sorted(unwanted))
    )


def _meant(connection: sa.Connection, scope: Scope, term: Term) -> set[str]:
    if term.key == "job":
        return set(term.values)
    if term.key == JOB_NAME:
        condition = sa.or_(*(definitions.c.name.icontains(value, autoescape=True) for value in term.values))
    else:
        condition = _NAMES[term.key].in_(term.values)
    found = sa.select(definitions.c.name).where(definitions.c.environment == scope.environment, condition)
    return set(connection.execute(found).scalars())


def page(
    connection: sa.Connection,
    scope: Scope,
    search: RunSearch,
    *,
    size: int,
    before: UUID | None = None,
    after: UUID | None = None,
) -> RunPage:
    """Return a page of the runs that somebody looks for.

    Args:
        connection: Where to read.
        scope: Whose runs.
        search: Which of them, with its `names`.
        size: How many the page holds.
        before: The runs made before this one.
        after: The runs made after this one, those next to it.
    """
    ids = _ids(connection, scope, search, size + 1, before=before, after=after)
    shown = sorted(ids[:size], reverse=True)
    found = {run.id: run for run in single.get_each(connection, scope, shown)}
    return RunPage(
        runs=[found[run_id] for run_id in shown if run_id in found],
        has_newer=len(ids) > size if after is not None else before is not None,
        has_older=after is not None or len(ids) > size,
    )


def ids(connection: sa.Connection, scope: Scope, search: RunSearch, *, most: int) -> list[UUID]:
    """Return the ids of all runs that somebody looks for, the newest first, at most so many."""
    return _ids(connection, scope, search, most, before=None, after=None)


def counts(connection: sa.Connection, scope: Scope, search: RunSearch) -> dict[Status, int]:
    """Count the runs of each status, whatever status the filter names, each no further than one above 10,000."""
    return {status: _count(connection, scope, search, status) for status in Status}


def newer(connection: sa.Connection, scope: Scope, search: RunSearch, than: UUID, *, most: int) -> int:
    """Count the runs that came after one, at most so many."""
    return len(_ids(connection, scope, search, most, before=None, after=than))


def _ids(
    connection: sa.Connection, scope: Scope, search: RunSearch, most: int, *, before: UUID | None, after: UUID | None
) -> list[UUID]:
    """Return the first ids: the newest first, or the oldest first where they follow another."""
    wanted = _ended_ones(connection, scope, search, search.statuses, before=before, after=after)
    found = set(HistoryEnds(connection, wanted).first_ids(most=most, oldest_first=after is not None))
    if live := _conditions_of_live(connection, scope, search, search.statuses):
        order = _live.id.desc() if after is None else _live.id.asc()
        ids = sa.select(_live.id).where(*live, *_cursor(executions_live, before, after)).order_by(order).limit(most)
        found |= set(connection.execute(ids).scalars())
    return sorted(found, reverse=after is None)[:most]


def _count(connection: sa.Connection, scope: Scope, search: RunSearch, status: Status) -> int:
    statuses = frozenset({status})
    total = HistoryEnds(connection, _ended_ones(connection, scope, search, statuses)).count(most=MOST_COUNTED + 1)
    if live := _conditions_of_live(connection, scope, search, statuses):
        some = sa.select(_live.id).where(*live).limit(MOST_COUNTED + 1).subquery()
        total += connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    return min(total, MOST_COUNTED + 1)


def _ended_ones(
    connection: sa.Connection,
    scope: Scope,
    search: RunSearch,
    statuses: frozenset[Status],
    *,
    before: UUID | None = None,
    after: UUID | None = None,
) -> WantedHistory:
    organizations = search.organizations
    if scope.organization_id is not None:
        organizations = {scope.organization_id} & (organizations or {scope.organization_id})
    return WantedHistory(
        scope.environment,
        statuses=statuses & FINAL,
        names=search.names,
        triggers=search.triggers,
        fingerprint=search.fingerprint,
        organizations=organizations,
        user_id=scope.user_id,
        ids=ids_before(search),
        conditions=[
            *conditions(search, scope, executions, connection.dialect.name),
            *_cursor(executions, before, after),
        ],
    )


def _cursor(table: sa.Table, before: UUID | None, after: UUID | None) -> list[sa.ColumnElement[bool]]:
    earlier = [] if before is None else [table.c.id < before]
    return earlier if after is None else [*earlier, table.c.id > after]


def _conditions_of_live(
    connection: sa.Connection, scope: Scope, search: RunSearch, statuses: frozenset[Status]
) -> list[sa.ColumnElement[bool]]:
    live = statuses & _LIVE
    if not live or search.names == ():
        return []
    wanted = conditions(search, scope, executions_live, connection.dialect.name)
    if live != _LIVE:
        wanted.append(sa.or_(*map(_is_live, sorted(live))))
    if search.names is not None:
        wanted.append(is_among(_live.job_name, search.names))
    return wanted


def _is_live(status: Status) -> sa.ColumnElement[bool]:
    running: Any = _live.stage == int(Stage.RUNNING)
    if status is Status.RUNNING:
        return running
    return sa.and_(~running, _live.retrying if status is Status.RETRYING else ~_live.retrying)
