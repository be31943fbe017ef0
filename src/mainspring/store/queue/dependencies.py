"""What new executions wait for: their parents are locked, counted and kept with them, all in a few statements.

A parent exists before its child: it is in the store, or stands earlier in the same request. So nothing can wait for
itself, however long the way around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from mainspring.domain.execution import Stage, Status
from mainspring.errors import ExecutionNotFoundError
from mainspring.store.engine.dialect import POSTGRESQL_NOW, SQLITE_NOW, clock_shift, store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import dependents, limit_keys
from mainspring.store.runs import executions
from mainspring.store.tables import execution_dependencies, executions_live
from mainspring.store.tables import executions as executions_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution
    from mainspring.store.queue.enqueues import NewExecution

TIED_AT_ONCE: Final = 500
_SHOWN: Final = 5
_live = executions_live.c
_ended = executions_table.c
_edge = execution_dependencies.c

_LIVE_PARENTS = sa.select(_live.id, _live.environment).where(one_of(_live.id, "ids")).order_by(_live.id)
_LOCK_PARENTS = _LIVE_PARENTS.with_for_update()
_MARK_PARENTS = sa.update(executions_live).where(one_of(_live.id, "ids")).values(has_dependents=True)
_ENDED_PARENTS = sa.select(_ended.id, _ended.environment, _ended.status).where(one_of(_ended.id, "ids"))

# The edges travel as one JSON text, as executions do. Those of parents that have ended are kept too: they are settled.
_CONNECT_POSTGRESQL = sa.text(f"""
insert into mainspring.execution_dependencies (execution_id, depends_on_id, settled_at)
select e.child, e.parent, case when e.settled then {POSTGRESQL_NOW} end
from json_to_recordset(cast(:edges as json)) e(child uuid, parent uuid, settled boolean)
""")  # noqa: S608 - only the store's clock is put in
_CONNECT_SQLITE = sa.text(f"""
insert into mainspring.execution_dependencies (execution_id, depends_on_id, settled_at)
select json_extract(value, '$.child'), json_extract(value, '$.parent'),
    case when json_extract(value, '$.settled') then {SQLITE_NOW}() + cast(:shift * 1000000 as integer) end
from json_each(:edges)
""")  # noqa: S608 - only the store's clock is put in


def block(connection: sa.Connection, new: Sequence[NewExecution]) -> list[NewExecution]:
    """Make new executions wait for their live parents; return those whose parents have ended in vain.

    Raises:
        ExecutionNotFoundError: There is no such parent, or it stands later in the request than its child.
    """
    waiting = [item for item in new if item.depends_on]
    if not waiting:
        return []
    # The lock keeps a parent from ending between this look and the edge that its end must find.
    parents = _Parents(connection, new, _LOCK_PARENTS)
    unmet = parents.count(waiting)
    if parents.live:
        connection.execute(_MARK_PARENTS, {"ids": sorted(parents.live)})
    return unmet


def block_unlocked(connection: sa.Connection, new: Sequence[NewExecution]) -> list[NewExecution]:
    """Do as `block` without locking or marking the parents; until `tie` has, the executions have to stay waiting.

    Raises:
        ExecutionNotFoundError: There is no such parent, or it stands later in the request than its child.
    """
    waiting = [item for item in new if item.depends_on]
    return _Parents(connection, new, _LIVE_PARENTS).count(waiting) if waiting else []


class _Parents:
    """The parents of the executions of one request.

    Attributes:
        live: Those that were in the store before, and have not ended.
        ended: Those that have, and how.
    """

    def __init__(self, connection: sa.Connection, new: Sequence[NewExecution], look: sa.Select[Any, Any]) -> None:
        self._connection = connection
        self._new = new
        environments = {item.environment for item in new}
        own = {item.id for item in new}
        wanted = {parent for item in new for parent in item.depends_on} - own
        self.live = self._look(look, wanted, environments)
        rows = connection.execute(_ENDED_PARENTS, {"ids": sorted(wanted - self.live)}) if wanted - self.live else ()
        self.ended = {row.id: Status(row.status) for row in rows if row.environment in environments}
        # One that somebody retried between the two looks is live again.
        self.live |= self._look(look, wanted - self.live - set(self.ended), environments)

    def _look(self, look: sa.Select[Any, Any], wanted: Collection[UUID], environments: Collection[str]) -> set[UUID]:
        rows = self._connection.execute(look, {"ids": sorted(wanted)}) if wanted else ()
        return {row.id for row in rows if row.environment in environments}

    def count(self, waiting: Sequence[NewExecution]) -> list[NewExecution]:
        """Give each execution its number of blockers and write its edges; return those that are not to run."""
        earlier: dict[UUID, NewExecution] = {}
        edges: list[dict[str, object]] = []
        for item in self._new:
            self._require(item, earlier)
            for parent in sorted(set(item.depends_on)):
                if parent in earlier:
                    earlier[parent].has_dependents = True
                # As text: orjson takes no subclass of UUID, which is what asyncpg gives.
                edges.append({"child": str(item.id), "parent": str(parent), "settled": parent in self.ended})
            item.blockers = len(set(item.depends_on) - self.ended.keys())
            earlier[item.id] = item
        _connect(self._connection, edges)
        return [item for item in waiting if not item.run_after_failure and self._has_failed(item)]

    def _require(self, item: NewExecution, earlier: Mapping[UUID, NewExecution]) -> None:
        missing = [
            str(parent)
            for parent in item.depends_on
            if not (parent in earlier or parent in self.live or parent in self.ended)
        ]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise ExecutionNotFoundError(
                f"job {item.job_name!r} cannot depend on {', '.join(missing[:_SHOWN])}{more}: there is no such "
                "execution, or it comes later in the same request"
            )

    def _has_failed(self, item: NewExecution) -> bool:
        return any(self.ended.get(parent, Status.SUCCEEDED) is not Status.SUCCEEDED for parent in item.depends_on)


def _connect(connection: sa.Connection, edges: Sequence[Mapping[str, object]]) -> None:
    statement = _CONNECT_POSTGRESQL if connection.dialect.name == "postgresql" else _CONNECT_SQLITE
    connection.execute(statement, {"edges": orjson.dumps(edges).decode(), "shift": clock_shift.get()})


_PARENTS_AFTER = (
    sa.select(_edge.depends_on_id)
    .where(
        _edge.execution_id == sa.bindparam("child", type_=_edge.execution_id.type),
        _edge.depends_on_id > sa.bindparam("after", type_=_edge.depends_on_id.type),
    )
    .order_by(_edge.depends_on_id)
    .limit(sa.bindparam("most"))
)
_BEFORE_ALL: Final = UUID(int=0)


def parents(
    connection: sa.Connection, scope: Scope, child: UUID, *, after: UUID | None, most: int
) -> tuple[list[Execution], UUID | None]:
    """Return a page of the executions that one waits for or has waited for, and where the next page begins.

    Args:
        connection: Where to read.
        scope: Whose executions are seen.
        child: The one that waits.
        after: Where the page before has ended; None: the first page.
        most: How many at most, at least 1.

    Returns:
        Those that still exist, in the order of their ids; and None where there are no more.
    """
    page = {"child": child, "after": after or _BEFORE_ALL, "most": most}
    ids = connection.execute(_PARENTS_AFTER, page).scalars().all()
    return executions.get_each(connection, scope, ids), ids[-1] if len(ids) == most else None


# Executions that were accepted in a transaction of the application's own ----------------------------------------------

_UNTIED = (
    sa.select(_live.id)
    .where(_live.stage == sa.literal_column("0"), _live.available_at <= store_now(), _live.blockers > 0)
    .order_by(_live.available_at)
    .limit(sa.bindparam("most"))
)
_PARENTS_OF = (
    sa.select(_edge.depends_on_id).where(one_of(_edge.execution_id, "children"), _edge.settled_at.is_(None)).distinct()
)
_BLOCK = (
    sa.update(executions_live)
    .where(one_of(_live.id, "children"), _live.stage == sa.literal_column("0"), _live.blockers > 0)
    .values(stage=int(Stage.BLOCKED))
)


def tie(connection: sa.Connection, most: int = TIED_AT_ONCE) -> int:
    """Tie executions to their parents that were accepted without the locks of `block`, once they are due.

    Parents are locked before children and children before limit keys, as an end does it, so that the two cannot wait
    for each other. For the same reason this has a transaction of its own: promotion (`claims.promote_due`) has locked
    keys already.

    Args:
        connection: Where to run, in a short transaction of its own.
        most: How many children at once, at least 1.

    Returns:
        How many it found.
    """
    children = list(connection.execute(_UNTIED, {"most": most}).scalars())
    if not children:
        return 0
    parents = sorted(connection.execute(_PARENTS_OF, {"children": children}).scalars())
    live = list(connection.execute(_LOCK_PARENTS, {"ids": parents}).scalars())
    connection.execute(_MARK_PARENTS, {"ids": live})
    connection.execute(_BLOCK, {"children": children})
    gone = [parent for parent in parents if parent not in live]
    ended = {row.id: Status(row.status) for row in connection.execute(_ENDED_PARENTS, {"ids": gone})}
    # Of a parent that retention has taken meanwhile nobody knows that it succeeded.
    keys = dependents.settle(connection, [(parent, ended.get(parent, Status.CANCELLED)) for parent in gone])
    limit_keys.admit_each(connection, keys)
    return len(children)
