"""Runs of programs that somebody else starts, such as cron: they are running when the store first hears of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Trigger
from mainspring.domain.write_door import json_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.queue.finishes import HELD_BY_ATTEMPT, KEEP_ATTEMPT
from mainspring.store.scheduling import external_starts
from mainspring.store.tables import SCHEMA, executions_live, fences, nodes

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from mainspring.store.scheduling.firing import Firing

QUEUE: Final = "exec"
"""Where such runs stand: no worker serves it, so that none takes them."""
ROLE: Final = "exec"
"""The one role of the process that watches a run."""
_FORGOTTEN_AFTER: Final = sa.literal(-86_400.0)

_live = executions_live.c
_NEXT_FENCE_ON_POSTGRESQL = sa.select(sa.Sequence("fence_values", schema=SCHEMA).next_value())
_NEXT_FENCE_ON_SQLITE = sa.update(fences).values(value=fences.c.value + 1).returning(fences.c.value)


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as it begins.

    Attributes:
        id: Its id.
        job_name: Its job, whose definition is external.
        node_id: The process that watches it, and beats for it: where that is killed, the run counts as lost.
        payload: What runs, for people.
        user_id: The account that it runs as.
    """

    id: UUID
    job_name: str
    node_id: UUID
    payload: dict[str, str]
    user_id: str


def begin(
    connection: sa.Connection, who: Firing, run: TrackedRun, *, started_at: datetime | None = None, attempts: int = 1
) -> int:
    """Keep a run that has begun, and the tick that it stands for; return the fence of its attempt.

    It is triggered by `cron` where its schedule expected it, else by `system`. Nobody else starts it again: a lost one
    has failed.

    Args:
        connection: Where to run, in a transaction.
        who: The environment, and the node that tells of it.
        run: The run.
        started_at: When it began, where the store hears of it only afterwards; None: now.
        attempts: How often it has been tried.
    """
    if started_at is None:
        instant = external_starts.record(connection, who, run.job_name, run.id)
    else:
        instant = external_starts.record_late(connection, who, run.job_name, run.id, started_at)
    began = store_now() if started_at is None else started_at
    fence = _next_fence(connection)
    connection.execute(
        sa.insert(executions_live).values(
            id=run.id,
            environment=who.environment,
            queue=QUEUE,
            job_name=run.job_name,
            user_id=run.user_id,
            payload=json_text(run.payload),
            trigger=(Trigger.SYSTEM if instant is None else Trigger.CRON).value,
            scheduled_for=instant,
            max_retries=attempts - 1,  # nobody but who started it can try it again
            fail_when_lost=True,
            stage=int(Stage.RUNNING),
            attempt=attempts,
            retry_count=attempts - 1,
            fence=fence,
            node_id=run.node_id,
            available_at=began,
            created_at=began,
            started_at=began,
            updated_at=store_now(),
        )
    )
    return fence


_TRY_AGAIN = (
    sa.update(executions_live)
    .where(HELD_BY_ATTEMPT)
    .values(
        fence=sa.bindparam("b_next", type_=sa.BigInteger()),
        attempt=_live.attempt + 1,
        retry_count=_live.retry_count + 1,
        max_retries=_live.retry_count + 1,
        started_at=store_now(),
        progress_message=sa.bindparam("b_message", type_=sa.Text()),
        updated_at=store_now(),
    )
)


def try_again(
    connection: sa.Connection, execution_id: UUID, fence: int, *, outcome: Outcome, error: str, message: str
) -> int | None:
    """Keep an attempt that failed and let the next one begin, under the same process; return its fence.

    The run stays `running` in the pause before it: only the process that watches it can try again, and where that dies
    in the pause, the run is lost with it.

    Args:
        connection: Where to run, in a transaction.
        execution_id: The run.
        fence: The fence of the attempt that failed.
        outcome: How that ended.
        error: What went wrong, as JSON.
        message: What goes on meanwhile, for people.

    Returns:
        None where the run is this process's no more.
    """
    following = _next_fence(connection)
    held = {"b_id": execution_id, "b_fence": fence}
    connection.execute(KEEP_ATTEMPT, held | {"b_outcome": outcome.value, "b_error": error})
    taken = connection.execute(_TRY_AGAIN, held | {"b_next": following, "b_message": message})
    return following if taken.rowcount == 1 else None


_FORGET_WATCHERS = sa.delete(nodes).where(
    nodes.c.environment == sa.bindparam("b_environment"),
    nodes.c.roles == ROLE,
    sa.or_(nodes.c.stopped_at < store_now_plus(_FORGOTTEN_AFTER), nodes.c.dead_at < store_now_plus(_FORGOTTEN_AFTER)),
    ~sa.exists().where(_live.node_id == nodes.c.id, _live.stage == sa.literal_column("3")),
)


def forget_watchers(connection: sa.Connection, environment: str) -> int:
    """Remove the processes that watched runs and have been gone for a day; return how many.

    Each run has one, so that there are thousands of them where another node has a few a month.
    """
    return connection.execute(_FORGET_WATCHERS, {"b_environment": environment}).rowcount


def _next_fence(connection: sa.Connection) -> int:
    on_sqlite = connection.dialect.name == "sqlite"
    return connection.execute(_NEXT_FENCE_ON_SQLITE if on_sqlite else _NEXT_FENCE_ON_POSTGRESQL).scalar_one()
