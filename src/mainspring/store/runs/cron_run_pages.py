"""Pages of runs for those who watch jobs: by job, status, trigger, time and error, fast in a history of any size.

What has ended is found by `history_ends`; what lives is few. Ids alone are skipped and
sorted; rows are read for the page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import FINAL, Stage, Status
from mainspring.store.engine.lists import is_among
from mainspring.store.runs import executions as single
from mainspring.store.runs.execution_pages import MOST_COUNTED, Page
from mainspring.store.runs.history_ends import HistoryEnds, WantedHistory
from mainspring.store.runs.index_ends import SKEW, first_id
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta

    from mainspring.domain.execution import Execution, Trigger

_ended = executions.c
_live = executions_live.c
_LIVE: Final = frozenset(Status) - FINAL
_LAST_OF_A_MILLISECOND: Final = (1 << 80) - 1


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
    history = HistoryEnds(connection, _ended_ones(environment, wanted))
    most = skip + size + 1
    live = _live_ids(connection, environment, wanted, most)
    ids = _in_their_order(wanted, live, history, most)
    has_more = len(ids) == most
    is_from_start = wanted.after is None
    if is_from_start and not has_more:
        total = len(ids)
    else:
        has_all_live = is_from_start and len(live) < most
        total = len(live) if has_all_live else _count_live(connection, environment, wanted)
        total += history.count(most=MOST_COUNTED + 1)
    return Page(
        executions=_read(connection, environment, ids[skip : skip + size]),
        total=min(total, MOST_COUNTED),
        is_capped=total > MOST_COUNTED,
        has_more=has_more,
    )


def page_of(runs: list[Execution]) -> Page:
    """Return the page that holds these runs and no others."""
    return Page(executions=runs, total=len(runs), is_capped=False, has_more=False)


def first(connection: sa.Connection, environment: str, wanted: WantedRuns, *, most: int) -> list[Execution]:
    """Return the first runs of a list, without counting what follows."""
    history = HistoryEnds(connection, _ended_ones(environment, wanted))
    live = _live_ids(connection, environment, wanted, most)
    return _read(connection, environment, _in_their_order(wanted, live, history, most))


def _live_ids(connection: sa.Connection, environment: str, wanted: WantedRuns, most: int) -> list[UUID]:
    """Return the first ids of live runs, in their order."""
    conditions = _conditions_of_live(environment, wanted)
    if not conditions:
        return []
    order = _live.id.asc() if wanted.oldest_first else _live.id.desc()
    return list(connection.execute(sa.select(_live.id).where(*conditions).order_by(order).limit(most)).scalars())


def _in_their_order(wanted: WantedRuns, live: Sequence[UUID], history: HistoryEnds, most: int) -> list[UUID]:
    """Return the first ids of live runs and of those that have ended, in their order."""
    found = {*live, *history.first_ids(most=most, oldest_first=wanted.oldest_first)}
    return sorted(found, reverse=not wanted.oldest_first)[:most]


def _read(connection: sa.Connection, environment: str, ids: Sequence[UUID]) -> list[Execution]:
    """Return runs by their ids, in this order."""
    found = {run.id: run for run in single.get_each(connection, Scope(environment), ids)}
    return [found[execution_id] for execution_id in ids if execution_id in found]


def _count_live(connection: sa.Connection, environment: str, wanted: WantedRuns) -> int:
    """Count the live runs that match, no further than 10,000 and without regard to the cursor."""
    conditions = _conditions_of_live(environment, replace(wanted, after=None))
    if not conditions:
        return 0
    some = sa.select(_live.id).where(*conditions).limit(MOST_COUNTED + 1).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def _ended_ones(environment: str, wanted: WantedRuns) -> WantedHistory:
    return WantedHistory(
        environment,
        statuses=(wanted.statuses or FINAL) & FINAL,
        names=wanted.names,
        triggers=wanted.triggers,
        fingerprint=wanted.fingerprint,
        ids=_ids_of_span(wanted, SKEW),
        conditions=_in_span(_ended, wanted),
        certain_ids=[] if _is_short(wanted) else _ids_of_span(wanted, -SKEW),
        edges=[] if _is_short(wanted) else _edges_of_span(wanted),
        cursor=_cursor(_ended, wanted),
    )


def _conditions_of_live(environment: str, wanted: WantedRuns) -> list[sa.ColumnElement[bool]]:
    statuses = (wanted.statuses or _LIVE) & _LIVE
    if not statuses or wanted.fingerprint is not None:
        return []
    conditions = [_live.environment == environment, *_in_span(_live, wanted), *_cursor(_live, wanted)]
    if wanted.names is not None:
        conditions.append(is_among(_live.job_name, wanted.names))
    if wanted.triggers is not None:
        conditions.append(is_among(_live.trigger, wanted.triggers))
    if statuses != _LIVE:
        conditions.append(sa.or_(*map(_is_live, sorted(statuses))))
    return conditions


def _is_live(status: Status) -> sa.ColumnElement[bool]:
    running = _live.stage == sa.literal_column(str(int(Stage.RUNNING)))
    if status is Status.RUNNING:
        return running
    return sa.and_(~running, _live.retrying if status is Status.RETRYING else ~_live.retrying)


def _in_span(columns: sa.ColumnCollection[str, sa.Column[Any]], wanted: WantedRuns) -> list[sa.ColumnElement[bool]]:
    from_start = [] if wanted.start is None else [columns.created_at >= wanted.start]
    return from_start if wanted.end is None else [*from_start, columns.created_at < wanted.end]


def _ids_of_span(wanted: WantedRuns, skew: timedelta) -> list[sa.ColumnElement[bool]]:
    """Return what the span, with so much more at each end, means for ids, which the clock of a node has made."""
    ids: list[sa.ColumnElement[bool]] = []
    if wanted.start is not None:
        ids.append(_ended.id >= first_id(wanted.start - skew))
    if wanted.end is not None:
        ids.append(_ended.id <= _last_id(wanted.end + skew))
    return ids


def _edges_of_span(wanted: WantedRuns) -> list[list[sa.ColumnElement[bool]]]:
    """Return around each end of the span the ids of which only a run itself knows whether it was asked for within."""
    edges: list[list[sa.ColumnElement[bool]]] = []
    if wanted.start is not None:
        edges.append([_ended.id >= first_id(wanted.start - SKEW), _ended.id < first_id(wanted.start + SKEW)])
    if wanted.end is not None:
        edges.append([_ended.id > _last_id(wanted.end - SKEW), _ended.id <= _last_id(wanted.end + SKEW)])
    return edges


def _is_short(wanted: WantedRuns) -> bool:
    """Whether the edges of the span meet, so that no id is certain to be within."""
    return wanted.start is not None and wanted.end is not None and wanted.end - wanted.start <= 2 * SKEW


def _last_id(instant: datetime) -> UUID:
    return UUID(int=first_id(instant).int | _LAST_OF_A_MILLISECOND)


def _cursor(columns: sa.ColumnCollection[str, sa.Column[Any]], wanted: WantedRuns) -> list[sa.ColumnElement[bool]]:
    if wanted.after is None:
        return []
    return [columns.id > wanted.after if wanted.oldest_first else columns.id < wanted.after]
