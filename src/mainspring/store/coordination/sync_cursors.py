"""How far synchronisations have come: a cursor for each environment, sync and organization, moved by one run at a time.

A run holds the cursor for as long as its execution is running, which the live row says. So nothing has to be renewed
while it works, nothing is left behind when it crashes, and its own next attempt finds the cursor free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.write_door import verbatim_json
from mainspring.errors import LeaseLostError, MainspringError
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import executions_live, sync_cursors

if TYPE_CHECKING:
    from uuid import UUID

_PLATFORM: Final = ""
_live = executions_live.c
_cursors = sync_cursors.c

_NAMED = sa.and_(
    _cursors.environment == sa.bindparam("b_environment"),
    _cursors.sync == sa.bindparam("b_sync"),
    _cursors.organization_id == sa.bindparam("b_organization"),
)


def _inserting(insert: postgresql.Insert | sqlite.Insert) -> sa.Insert:
    return insert.values(
        environment=sa.bindparam("b_environment"),
        sync=sa.bindparam("b_sync"),
        organization_id=sa.bindparam("b_organization"),
        updated_at=store_now(),
    ).on_conflict_do_nothing()


_INSERT_ON_POSTGRESQL = _inserting(postgresql.insert(sync_cursors))
_INSERT_ON_SQLITE = _inserting(sqlite.insert(sync_cursors))
_LOCK = sa.select(_cursors.cursor, _cursors.execution_id).where(_NAMED).with_for_update()
_FENCE_OF_RUNNING = sa.select(_live.fence).where(
    _live.id == sa.bindparam("b_execution"), _live.stage == sa.literal_column("3")
)
_LOCK_RUNNING = _FENCE_OF_RUNNING.with_for_update(read=True)
_HOLD = sa.update(sync_cursors).where(_NAMED).values(execution_id=sa.bindparam("b_execution"))
_MOVE = (
    sa.update(sync_cursors)
    .where(_NAMED, _cursors.execution_id == sa.bindparam("b_execution"))
    .values(cursor=sa.bindparam("b_value"), updated_at=store_now())
)


class CursorHeldError(MainspringError):
    """Another run of the same sync is at work for the same organization."""

    code = "SYNC_RUNNING"


@dataclass(frozen=True, slots=True)
class CursorName:
    """Whose cursor of which sync.

    Attributes:
        environment: The environment.
        sync: The name of the sync.
        organization_id: The organization; None: the platform itself.
    """

    environment: str
    sync: str
    organization_id: str | None

    def bound(self) -> dict[str, Any]:
        """Return the parameters that name it in a statement."""
        organization = _PLATFORM if self.organization_id is None else self.organization_id
        return {"b_environment": self.environment, "b_sync": self.sync, "b_organization": organization}


@dataclass(frozen=True, slots=True)
class HeldCursor:
    """A cursor that an attempt holds.

    Attributes:
        name: Which one.
        execution_id: The execution that holds it.
        fence: That of the attempt: a later attempt of the same execution shuts this one out.
        value: Where the source goes on from, in terms of JSON; None: from its beginning.
    """

    name: CursorName
    execution_id: UUID
    fence: int
    value: object


def hold(connection: sa.Connection, name: CursorName, execution_id: UUID, fence: int) -> HeldCursor:
    """Take a cursor for a running attempt, until its execution runs no more.

    Args:
        connection: Where to run, in a transaction.
        name: Which cursor; it need not exist yet.
        execution_id: The execution of the attempt.
        fence: The fence of the attempt.

    Raises:
        CursorHeldError: Another execution that is running holds it.
        LeaseLostError: The attempt no longer holds its execution.
    """
    row = name.bound()
    insert = _INSERT_ON_POSTGRESQL if connection.dialect.name == "postgresql" else _INSERT_ON_SQLITE
    connection.execute(insert, row)
    # The row's lock comes first, in a statement of its own: the next one sees what the last holder has committed.
    cursor, holder = connection.execute(_LOCK, row).one()
    if _fence_of(connection, execution_id) != fence:
        raise _lost(name, execution_id)
    if holder not in {None, execution_id} and _fence_of(connection, holder) is not None:
        raise CursorHeldError(
            f"sync {name.sync!r} is being run by execution {holder}: wait until that has ended, or cancel it"
        )
    connection.execute(_HOLD, {**row, "b_execution": execution_id})
    return HeldCursor(name, execution_id, fence, None if cursor is None else orjson.loads(cursor))


def move(connection: sa.Connection, held: HeldCursor, value: object) -> None:
    """Move a cursor on.

    Args:
        connection: Where to run, in a transaction.
        held: The cursor.
        value: Where the source goes on from, anything JSON.

    Raises:
        LeaseLostError: The attempt holds its execution or the cursor no longer; nothing was changed.
    """
    # Whoever wants to end or claim the execution waits for this lock, and so sees the cursor moved or not at all.
    fence = connection.execute(_LOCK_RUNNING, {"b_execution": held.execution_id}).scalar()
    new = {**held.name.bound(), "b_execution": held.execution_id, "b_value": verbatim_json(value)}
    if fence != held.fence or connection.execute(_MOVE, new).rowcount != 1:
        raise _lost(held.name, held.execution_id)


def _fence_of(connection: sa.Connection, execution_id: UUID) -> int | None:
    """Return the fence of an execution that is running, else None."""
    return connection.execute(_FENCE_OF_RUNNING, {"b_execution": execution_id}).scalar()


def _lost(name: CursorName, execution_id: UUID) -> LeaseLostError:
    return LeaseLostError(
        f"sync {name.sync!r}: this attempt no longer holds execution {execution_id}, so that its cursor is not moved"
    )
