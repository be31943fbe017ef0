"""Queues as people see them: what waits and runs in each, and what somebody has said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now
from mainspring.store.queue.limit_keys import insert_missing
from mainspring.store.tables import definitions, executions_live, queues

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MOST_COUNTED: Final = 100_000
_live = executions_live.c
_ENVIRONMENT: Final = sa.bindparam("b_environment", type_=sa.Text())
_NAME: Final = sa.bindparam("b_name", type_=sa.Text())


@dataclass(frozen=True, slots=True)
class QueuePause:
    """Who closed a queue, and until when; None: until somebody opens it."""

    at: datetime
    until: datetime | None
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class StoredQueue:
    """A queue.

    Attributes:
        name: Its name.
        pause: A pause that is in force now.
        max_running: How many of its executions may run at once over all nodes; None: as many as there are slots.
        version: Grows with each change; 1: nobody has ever changed anything.
        running: How many run.
        waiting: How many could start now if there were room.
        oldest_seconds: For how long the first of these could have; None: none waits.
    """

    name: str
    pause: QueuePause | None = None
    max_running: int | None = None
    version: int = 1
    running: int = 0
    waiting: int = 0
    oldest_seconds: float | None = None


@dataclass(slots=True)
class _Load:
    running: int = 0
    waiting: int = 0
    oldest_seconds: float | None = None


_SAID = sa.select(queues, store_now().label("now")).where(queues.c.environment == _ENVIRONMENT)
_DECLARED = sa.select(definitions.c.queue).where(
    definitions.c.environment == _ENVIRONMENT, definitions.c.retired_at.is_(None)
)
_ALIVE = (
    sa.select(_live.queue, _live.stage, _live.available_at)
    .where(_live.environment == _ENVIRONMENT, _live.stage.in_([sa.literal_column(text) for text in "123"]))
    .limit(MOST_COUNTED)
    .subquery()
)
_LOADS = sa.select(
    _ALIVE.c.queue,
    (_ALIVE.c.stage == sa.literal_column("3")).label("runs"),
    sa.func.count().label("executions"),
    sa.func.min(_ALIVE.c.available_at).label("oldest"),
    store_now().label("now"),
).group_by(_ALIVE.c.queue, _ALIVE.c.stage == sa.literal_column("3"))


def find(connection: sa.Connection, environment: str) -> list[StoredQueue]:
    """Return the queues of an environment, by name: those of jobs, those with work, and those somebody has changed.

    What runs and waits is counted over 100,000 executions at most.
    """
    asked = {"b_environment": environment}
    said = {row.name: row for row in connection.execute(_SAID, asked)}
    loads = _loads(connection, environment)
    names = {*said, *loads, *connection.execute(_DECLARED.distinct(), asked).scalars()}
    return [_queue(name, said.get(name), loads.get(name, _Load())) for name in sorted(names)]


def _loads(connection: sa.Connection, environment: str) -> dict[str, _Load]:
    found: dict[str, _Load] = {}
    for row in connection.execute(_LOADS, {"b_environment": environment}):
        load = found.setdefault(row.queue, _Load())
        if row.runs:
            load.running = row.executions
        else:
            load.waiting = row.executions
            load.oldest_seconds = max(0.0, (row.now - row.oldest).total_seconds())
    return found


def lock(connection: sa.Connection, environment: str, name: str) -> StoredQueue:
    """Return what is said of a queue, and keep it as it is until the transaction ends; its load is not counted."""
    insert_missing(connection, queues, [{"environment": environment, "name": name}])
    asked = {"b_environment": environment, "b_name": name}
    row = connection.execute(_SAID.where(queues.c.name == _NAME).with_for_update(key_share=True), asked).one()
    return _queue(name, row, _Load())


def change(connection: sa.Connection, environment: str, name: str, values: Mapping[str, Any]) -> None:
    """Say something of a queue that is locked: columns of `queues` and their new values."""
    connection.execute(
        sa.update(queues)
        .where(queues.c.environment == environment, queues.c.name == name)
        .values(**values, version=queues.c.version + 1)
    )


def paused(by: str, reason: str | None, until: datetime | None) -> dict[str, Any]:
    """Return the values that close a queue."""
    return {"paused_at": store_now(), "paused_by": by, "paused_reason": reason, "paused_until": until}


OPEN: Final[Mapping[str, Any]] = {"paused_at": None, "paused_by": None, "paused_reason": None, "paused_until": None}
"""The values that open a queue."""


def _queue(name: str, row: Any, load: _Load) -> StoredQueue:  # noqa: ANN401 - a row of either driver
    return StoredQueue(
        name,
        pause=None if row is None else _pause(row),
        max_running=None if row is None else row.max_running,
        version=1 if row is None else row.version,
        running=load.running,
        waiting=load.waiting,
        oldest_seconds=load.oldest_seconds,
    )


def _pause(row: Any) -> QueuePause | None:  # noqa: ANN401 - as above
    if row.paused_at is None or (row.paused_until is not None and row.paused_until <= row.now):
        return None
    return QueuePause(row.paused_at, row.paused_until, row.paused_by, row.paused_reason)
