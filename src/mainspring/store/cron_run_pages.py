"""Pages of runs for those who watch jobs: by job, status, trigger, time and error, fast in a history of any size.

Each combination of a job and a status is the end of an index. A page takes the newest of each of them and merges
those, so that neither a rare failure among millions of successes nor a rare job among millions of runs costs a scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import FINAL, Stage, Status, Trigger
from mainspring.store import executions as single
from mainspring.store.execution_pages import MOST_COUNTED, Page
from mainspring.store.execution_rows import from_history, from_live
from mainspring.store.lists import ListOf, one_of
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from mainspring.domain.execution import Execution

_ended = executions.c
_live = executions_live.c
_SKEW: Final = timedelta(minutes=5)
"""An id is made by the clock of a node, `created_at` by that of the store."""
_LIVE: Final = frozenset(Status) - FINAL
_COMMON: Final = frozenset({Trigger.API, Trigger.CRON})
_MANY_ENDS: Final = 16
"""Jobs times statuses: beyond that it pays to look first whether the newest runs of all hold enough of them."""
_LOOKED_AT: Final = 3_000
_LAST_OF_A_MILLISECOND: Final = (1 << 80) - 1


Place = tuple["UUID", "datetime | None"]
"""The id of a run, and when it ended."""


@dataclass(frozen=True, slots=True)
class WantedRuns:
    """Which runs a page holds; None means any.

    Attributes:
        names: Those of these jobs.
        statuses: Those in one of these statuses.
        triggers: Those that one of these has started.
        start: Those asked for at this instant or later.
        end: Those asked for before this instant.
        fingerprint: Those that failed with this error.
        after: Those that follow this one: the cursor.
        oldest_first: Their order; by default the newest comes first.
    """

    names: Collection[str] | None = None
    statuses: frozenset[Status] | None = None
    triggers: frozenset[Trigger] | None = None
    start: datetime | None = None
    end: datetime | None = None
    fingerprint: str | None = None
    after: UUID | None = None
    oldest_first: bool = False


def page(connection: sa.Connection, environment: str, wanted: WantedRuns, *, skip: int, size: int) -> Page:
    """Return one page of runs of any organization, by when they were asked for.

    Args:
        connection: Where to read.
        environment: The environment.
        wanted: Which of its runs.
        skip: How many to leave out, for pages by number.
        size: How many the page holds.
    """
    places = _in_their_order(connection, environment, wanted, skip + size + 1)
    total = _count(connection, environment, wanted)
    return Page(
        executions=_read(connection, environment, places[skip : skip + size]),
        total=min(total, MOST_COUNTED),
        is_capped=total > MOST_COUNTED,
        has_more=len(places) > skip + size,
    )


def page_of(runs: list[Execution]) -> Page:
    """Return the page that holds these runs and no others."""
    return Page(executions=runs, total=len(runs), is_capped=False, has_more=False)


def first(connection: sa.Connection, environment: str, wanted: WantedRuns, *, most: int) -> list[Execution]:
    """Return the first runs of a list, without counting what follows."""
    return _read(connection, environment, _in_their_order(connection, environment, wanted, most))


def _in_their_order(connection: sa.Connection, environment: str, wanted: WantedRuns, most: int) -> list[Place]:
    places = _first_places(connection, environment, wanted, most)
    return sorted(places.items(), reverse=not wanted.oldest_first)[:most]


def _read(connection: sa.Connection, environment: str, places: Sequence[Place]) -> list[Execution]:
    """Return the runs at some places: those that have ended from the weeks in which they did, and no others."""
    ended = [completed_at for _id, completed_at in places if completed_at is not None]
    asked: dict[str, Any] = {"environment": environment, "ids": [execution_id for execution_id, _at in places]}
    found: dict[UUID, Execution] = {}
    if ended:
        span = {"first": min(ended), "last": max(ended)}
        found = {row.id: from_history(row) for row in connection.execute(_ENDED_ROWS, {**asked, **span})}
    if len(ended) < len(places):
        found |= {row.id: from_live(row) for row in connection.execute(_LIVE_ROWS, asked)}
    if missing := [execution_id for execution_id, _at in places if execution_id not in found]:  # it ended meanwhile
        found |= {run.id: run for run in single.get_each(connection, Scope(environment), missing)}
    return [found[execution_id] for execution_id, _at in places if execution_id in found]


_IN_ENVIRONMENT = _ended.environment == sa.bindparam("environment")
_ENDED_ROWS = sa.select(executions).where(
    one_of(_ended.id, "ids"),
    _IN_ENVIRONMENT,
    _ended.completed_at >= sa.bindparam("first", type_=_ended.completed_at.type),
    _ended.completed_at <= sa.bindparam("last", type_=_ended.completed_at.type),
)
_LIVE_ROWS = sa.select(executions_live).where(one_of(_live.id, "ids"), _live.environment == sa.bindparam("environment"))


def _first_places(
    connection: sa.Connection, environment: str, wanted: WantedRuns, most: int
) -> dict[UUID, datetime | None]:
    """Return the first ids of live runs and of those that have ended, each with the instant at which it did."""
    asked: dict[str, Any] = {"environment": environment, "names": list(wanted.names or ()), "most": most}
    found: dict[UUID, datetime | None] = {}
    if live := _conditions_of_live(wanted):
        ids = connection.execute(_sorted(sa.select(_live.id).where(*live), _live.id, wanted), asked).scalars()
        found = dict.fromkeys(ids)
    statuses = _ended_statuses(wanted)
    if statuses:
        found |= dict(_first_ended(connection, wanted, {**asked, "statuses": statuses}))
    return found


def _first_ended(
    connection: sa.Connection, wanted: WantedRuns, asked: Mapping[str, Any]
) -> list[tuple[UUID, datetime]]:
    statuses, most = asked["statuses"], asked["most"]
    if wanted.fingerprint is not None or _are_rare(wanted.triggers):  # so few that one index serves all of them
        conditions = [*_conditions_of_ended(wanted), _ended.status.in_(statuses)]
        return _pairs(connection, _in_order(conditions, wanted), asked)
    ends = len(statuses) * (1 if wanted.names is None else len(wanted.names))
    if ends > _MANY_ENDS:
        newest = _pairs(connection, _among_the_first(statuses, wanted), asked)
        if len(newest) >= most:  # nothing else can stand before what was found among all runs
            return newest
    if connection.dialect.name == "postgresql":
        return _pairs(connection, _each_end(wanted), asked)
    found: list[tuple[UUID, datetime]] = []
    for status in statuses:
        for name in wanted.names if wanted.names is not None else (None,):
            of_one = [*_filters(_ended, wanted), _IN_ENVIRONMENT, _ended.status == sa.bindparam("status")]
            of_one += [] if name is None else [_ended.job_name == sa.bindparam("name")]
            found += _pairs(connection, _in_order(of_one, wanted), {**asked, "status": status, "name": name})
    return found


def _pairs(
    connection: sa.Connection, statement: sa.Select[UUID, datetime], asked: Mapping[str, Any]
) -> list[tuple[UUID, datetime]]:
    return [(row.id, row.completed_at) for row in connection.execute(statement, asked)]


def _among_the_first(statuses: Sequence[str], wanted: WantedRuns) -> sa.Select[UUID, datetime]:
    """Select what is wanted among the first few thousand runs of all: where it is frequent that is enough."""
    columns = (_ended.id, _ended.completed_at, _ended.job_name, _ended.status)
    order = _ended.id.asc() if wanted.oldest_first else _ended.id.desc()
    conditions = [_IN_ENVIRONMENT, *_filters(_ended, wanted)]
    few = sa.select(*columns).where(*conditions).order_by(order).limit(_LOOKED_AT).subquery("few")
    matching = sa.select(few.c.id, few.c.completed_at).where(few.c.status.in_(statuses))
    if wanted.names is not None:
        matching = matching.where(one_of(few.c.job_name, "names"))
    return _sorted(matching, few.c.id, wanted)


def _are_rare(triggers: frozenset[Trigger] | None) -> bool:
    return triggers is not None and triggers.isdisjoint(_COMMON)


def _each_end(wanted: WantedRuns) -> sa.Select[UUID, datetime]:
    """Select the first ids of each job and status: PostgreSQL goes through them by itself."""
    statuses = _each("statuses")
    conditions = [*_filters(_ended, wanted), _IN_ENVIRONMENT, _ended.status == statuses.c.value]
    source: sa.FromClause = statuses
    if wanted.names is not None:
        names = _each("names")
        conditions.append(_ended.job_name == names.c.value)
        source = source.join(names, sa.true())
    first = _in_order(conditions, wanted).lateral("first")
    each = sa.select(first.c.id, first.c.completed_at).select_from(source.join(first, sa.true()))
    return _sorted(each, first.c.id, wanted)


def _each(name: str) -> sa.TableValuedAlias:
    values = sa.bindparam(name, type_=ListOf(sa.Text()))
    return sa.func.unnest(values).table_valued(sa.column("value", sa.Text()), name=name).render_derived()


def _in_order(conditions: Sequence[sa.ColumnElement[bool]], wanted: WantedRuns) -> sa.Select[UUID, datetime]:
    return _sorted(sa.select(_ended.id, _ended.completed_at).where(*conditions), _ended.id, wanted)


def _sorted(statement: Any, column: sa.ColumnElement[UUID], wanted: WantedRuns) -> Any:  # noqa: ANN401 - any select
    order = column.asc() if wanted.oldest_first else column.desc()
    return statement.order_by(order).limit(sa.bindparam("most", type_=sa.Integer()))


def _count(connection: sa.Connection, environment: str, wanted: WantedRuns) -> int:
    """Count what matches, no further than 10,000 and without regard to the cursor."""
    asked: dict[str, Any] = {
        "environment": environment, "names": list(wanted.names or ()), "most": MOST_COUNTED + 1
    }  # fmt: skip
    total = 0
    if live := _conditions_of_live(wanted, with_cursor=False):
        total += connection.execute(_counted(_live.id, live), asked).scalar_one()
    if statuses := _ended_statuses(wanted):
        conditions = _conditions_of_ended(wanted, with_cursor=False)
        if len(statuses) < len(FINAL):
            conditions.append(_ended.status.in_(statuses))
        total += connection.execute(_counted(_ended.id, conditions), asked).scalar_one()
    return total


def _counted(column: sa.Column[UUID], conditions: Sequence[sa.ColumnElement[bool]]) -> sa.Select[int]:
    matching = sa.select(column).where(*conditions).limit(sa.bindparam("most", type_=sa.Integer())).subquery()
    return sa.select(sa.func.count()).select_from(matching)


def _ended_statuses(wanted: WantedRuns) -> list[str]:
    return sorted((wanted.statuses or FINAL) & FINAL) if wanted.statuses is None or wanted.statuses & FINAL else []


def _conditions_of_ended(wanted: WantedRuns, *, with_cursor: bool = True) -> list[sa.ColumnElement[bool]]:
    conditions = [_ended.environment == sa.bindparam("environment"), *_filters(_ended, wanted, with_cursor=with_cursor)]
    if wanted.names is not None:
        conditions.append(one_of(_ended.job_name, "names"))
    if wanted.fingerprint is not None:
        conditions.append(_ended.error_fingerprint == wanted.fingerprint)
    return conditions


def _conditions_of_live(wanted: WantedRuns, *, with_cursor: bool = True) -> list[sa.ColumnElement[bool]]:
    statuses = (wanted.statuses or _LIVE) & _LIVE
    if not statuses or wanted.fingerprint is not None:
        return []
    conditions = [_live.environment == sa.bindparam("environment"), *_filters(_live, wanted, with_cursor=with_cursor)]
    if wanted.names is not None:
        conditions.append(one_of(_live.job_name, "names"))
    if statuses != _LIVE:
        conditions.append(sa.or_(*map(_is_live, sorted(statuses))))
    return conditions


def _is_live(status: Status) -> sa.ColumnElement[bool]:
    running = _live.stage == sa.literal_column(str(int(Stage.RUNNING)))
    if status is Status.RUNNING:
        return running
    return sa.and_(~running, _live.retrying if status is Status.RETRYING else ~_live.retrying)


def _filters(
    columns: sa.ColumnCollection[str, sa.Column[Any]], wanted: WantedRuns, *, with_cursor: bool = True
) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.triggers is not None:
        # Written out, so that PostgreSQL sees which of them the index of the rare ones holds.
        conditions.append(columns.trigger.in_([sa.literal_column(f"'{word}'") for word in sorted(wanted.triggers)]))
    if wanted.start is not None:
        conditions += [columns.created_at >= wanted.start, columns.id >= first_id(wanted.start - _SKEW)]
    if wanted.end is not None:
        last = UUID(int=first_id(wanted.end + _SKEW).int | _LAST_OF_A_MILLISECOND)
        conditions += [columns.created_at < wanted.end, columns.id <= last]
    if with_cursor and wanted.after is not None:
        conditions.append(columns.id > wanted.after if wanted.oldest_first else columns.id < wanted.after)
    return conditions


def first_id(instant: datetime) -> UUID:
    """Return the lowest id of version 7 that can be made at an instant."""
    return UUID(int=max(0, int(instant.timestamp() * 1000)) << 80)
