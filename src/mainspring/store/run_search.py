"""Finding runs: a filter of people as pages without deep offsets, as counts, and as the ids of a bulk action.

Where a filter names few jobs or statuses, each combination of them is the end of an index of its own: the newest of
each are taken and merged, so that neither a rare failure among millions of successes nor a rare job costs a scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import FINAL, Stage, Status
from mainspring.domain.run_filter_keys import JOB_NAME
from mainspring.store import executions as single
from mainspring.store.run_search_conditions import NAMING, RunSearch, conditions
from mainspring.store.tables import definitions, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution
    from mainspring.domain.run_filter import Term

MOST_COUNTED: Final = 10_000
_MOST_BRANCHES: Final = 12
_LIVE: Final = frozenset(Status) - FINAL
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
    found: set[UUID] = set()
    for table, wanted in _branches(connection, scope, search, search.statuses):
        cursor = [] if before is None else [table.c.id < before]
        cursor += [] if after is None else [table.c.id > after]
        order = table.c.id.desc() if after is None else table.c.id.asc()
        found |= set(
            connection.execute(sa.select(table.c.id).where(*wanted, *cursor).order_by(order).limit(most)).scalars()
        )
    return sorted(found, reverse=after is None)[:most]


def _count(connection: sa.Connection, scope: Scope, search: RunSearch, status: Status) -> int:
    total = 0
    for table, wanted in _branches(connection, scope, search, frozenset({status})):
        some = sa.select(table.c.id).where(*wanted).limit(MOST_COUNTED + 1).subquery()
        total += connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    return min(total, MOST_COUNTED + 1)


def _branches(
    connection: sa.Connection, scope: Scope, search: RunSearch, statuses: frozenset[Status]
) -> list[tuple[sa.Table, list[sa.ColumnElement[bool]]]]:
    """Return the looks into an index that together find all that is wanted."""
    if search.names == ():
        return []
    dialect = connection.dialect.name
    branches: list[tuple[sa.Table, list[sa.ColumnElement[bool]]]] = []
    if live := statuses & _LIVE:
        wanted = conditions(search, scope, executions_live, dialect)
        wanted += [] if live == _LIVE else [sa.or_(*map(_is_live, sorted(live)))]
        wanted += _of_jobs(executions_live, search.names)
        branches.append((executions_live, wanted))
    if ended := sorted(statuses & FINAL):
        common = conditions(search, scope, executions, dialect)
        branches += [(executions, [*common, *branch]) for branch in _index_ends(scope, search, ended)]
    return branches


def _index_ends(scope: Scope, search: RunSearch, ended: Sequence[Status]) -> list[list[sa.ColumnElement[bool]]]:
    """Return status and job of each look into history."""
    is_narrow = search.names is not None or len(ended) < len(FINAL)
    of_one_tenant = scope.organization_id is not None
    if is_narrow and not of_one_tenant and len(ended) * len(search.names or ("any",)) <= _MOST_BRANCHES:
        return [
            [executions.c.status == status.value, *_of_jobs(executions, name)]
            for status, name in product(ended, [(name,) for name in search.names] if search.names else [None])
        ]
    status = [] if len(ended) == len(FINAL) else [executions.c.status.in_([word.value for word in ended])]
    return [[*status, *_of_jobs(executions, search.names)]]


def _of_jobs(table: sa.Table, names: Sequence[str] | None) -> list[sa.ColumnElement[bool]]:
    if names is None:
        return []
    return [table.c.job_name == names[0] if len(names) == 1 else table.c.job_name.in_(names)]


def _is_live(status: Status) -> sa.ColumnElement[bool]:
    running: Any = executions_live.c.stage == int(Stage.RUNNING)
    if status is Status.RUNNING:
        return running
    retrying = executions_live.c.retrying
    return sa.and_(~running, retrying if status is Status.RETRYING else ~retrying)
