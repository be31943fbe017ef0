"""What an organization removes of its own: executions that ended, with all that belongs to them, or their lines alone.

It goes through what has ended by pages, the oldest first, each removed in a transaction of its own. Every statement
names the organization, those that have the ids at hand as well; whatever is alive is never touched, and the weeks of
PostgreSQL are never dropped for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.tables import attempts, execution_logs, executions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.domain.access import Scope

EXPORTS: Final = "export_report"
PAGE: Final = 200
LINES_AT_ONCE: Final = 1_000
_ended = executions.c


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that has ended.

    Attributes:
        id: Which one.
        completed_at: When it ended.
        export: The result of an export; None for other executions.
    """

    id: UUID
    completed_at: datetime
    export: object


def horizon(connection: sa.Connection, age: timedelta) -> datetime:
    """Return the instant, by the store's clock, that is so long ago."""
    return connection.execute(sa.select(store_now())).scalar_one() - age


def page(
    connection: sa.Connection, scope: Scope, before: datetime, *, after: UUID | None = None, exports_alone: bool = False
) -> list[Ended]:
    """Return up to 200 executions that ended before an instant, the oldest first.

    Args:
        connection: Where to read.
        scope: Whose.
        before: They ended before it.
        after: They were made after this one: the last of the page before.
        exports_alone: Only exports that succeeded.
    """
    export = sa.case((_ended.job_name == EXPORTS, _ended.result))
    query = sa.select(_ended.id, _ended.completed_at, export.label("export")).where(*_own(scope, before))
    if after is not None:
        query = query.where(_ended.id > after)
    if exports_alone:
        query = query.where(_ended.job_name == EXPORTS, _ended.status == Status.SUCCEEDED.value)
    rows = connection.execute(query.order_by(_ended.id).limit(PAGE))
    return [Ended(row.id, row.completed_at, None if row.export is None else orjson.loads(row.export)) for row in rows]


def count(connection: sa.Connection, scope: Scope, before: datetime) -> int:
    """Return how many executions ended before an instant."""
    return connection.execute(sa.select(sa.func.count()).where(*_own(scope, before))).scalar_one()


def count_lines(connection: sa.Connection, scope: Scope, before: datetime) -> int:
    """Return how many log lines they have."""
    lines = sa.select(sa.func.count()).join_from(execution_logs, executions, _ended.id == execution_logs.c.execution_id)
    return connection.execute(lines.where(*_own(scope, before))).scalar_one()


def delete(connection: sa.Connection, scope: Scope, chosen: Sequence[Ended]) -> int:
    """Remove executions of a page with their attempts and log lines, and return how many there were still."""
    if not chosen:
        return 0
    ids = {"ids": [item.id for item in chosen]}
    # The two instants spare PostgreSQL the other weeks.
    instants = [item.completed_at for item in chosen]
    own = sa.and_(*_owned(scope), _ended.completed_at.between(min(instants), max(instants)), one_of(_ended.id, "ids"))
    # Locked and looked at again: a manual retry may have taken one back to the queue, with its lines.
    still: list[UUID] = list(connection.execute(sa.select(_ended.id).where(own).with_for_update(), ids).scalars())
    if not still:
        return 0
    for table in (execution_logs, attempts):
        connection.execute(sa.delete(table).where(one_of(table.c.execution_id, "ids")), {"ids": still})
    return connection.execute(sa.delete(executions).where(own), {"ids": still}).rowcount


def delete_lines(connection: sa.Connection, scope: Scope, before: datetime, ids: Collection[UUID]) -> int:
    """Remove up to 1,000 log lines of executions that ended before an instant, and return how many."""
    own = sa.select(_ended.id).where(*_own(scope, before), one_of(_ended.id, "ids"))
    lines = (
        sa.select(execution_logs.c.id)
        .where(one_of(execution_logs.c.execution_id, "ids"), execution_logs.c.execution_id.in_(own))
        .limit(LINES_AT_ONCE)
    )
    return connection.execute(
        sa.delete(execution_logs).where(execution_logs.c.id.in_(lines)), {"ids": list(ids)}
    ).rowcount


def _own(scope: Scope, before: datetime) -> list[sa.ColumnElement[bool]]:
    return [*_owned(scope), _ended.completed_at < before]


def _owned(scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Return whose executions these are: without an organization, those alone that have none."""
    own: list[sa.ColumnElement[Any]] = [
        _ended.environment == scope.environment,
        _ended.organization_id.is_(None)
        if scope.organization_id is None
        else _ended.organization_id == scope.organization_id,
    ]
    if scope.user_id is not None:
        own.append(_ended.user_id == scope.user_id)
    return own
