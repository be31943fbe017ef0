"""Failed executions go back to the queue under their ids: one or many, in a fixed number of statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import limit_keys
from mainspring.store.tables import attempts, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from mainspring.domain.execution import Execution

_live = executions_live.c
_ended = executions.c
_RESET: Final = frozenset(
    {
        "node_id", "retry_count", "started_at", "updated_at", "progress", "current_step", "total_steps",
        "progress_message", "items_processed", "items_succeeded", "items_failed", "error", "error_message",
    }
)  # fmt: skip
_KEPT: Final = tuple(
    column.name for column in executions_live.columns if column.name in _ended and column.name not in _RESET
)
_CHOSEN = sa.and_(one_of(_ended.id, "ids"), _ended.status == sa.literal_column(f"'{Status.FAILED}'"))
_LOCK = (
    sa.select(_ended.id, _ended.completed_at, _ended.environment, _ended.job_name, _ended.unique_key, _ended.limit_key)
    .where(_CHOSEN)
    .order_by(_ended.id)
    .with_for_update()
)
_HOLDERS = sa.select(_live.id, _live.environment, _live.job_name, _live.unique_key).where(
    one_of(_live.environment, "environments"),
    one_of(_live.job_name, "job_names"),
    one_of(_live.unique_key, "unique_keys"),
)
_KEEP_ATTEMPTS = sa.insert(attempts).from_select(
    ["execution_id", "number", "outcome", "fence", "node_id", "started_at", "completed_at", "error"],
    sa.select(
        _ended.id,
        _ended.attempt,
        sa.func.coalesce(_ended.outcome, Outcome.FAILED.value),
        _ended.fence,
        _ended.node_id,
        _ended.started_at,
        _ended.completed_at,
        _ended.error,
    ).where(_CHOSEN, _ended.attempt > 0),
)
_QUEUE = sa.insert(executions_live).from_select(
    [*_KEPT, "retry_count", "isolate", "stage", "available_at", "updated_at"],
    sa.select(
        *(_ended[name] for name in _KEPT),
        _ended.retry_count + 1,
        _ended.lost_count > 0,
        sa.case((_ended.limit_key.is_not(None), int(Stage.PARKED)), else_=int(Stage.READY)),
        store_now(),
        store_now(),
    ).where(_CHOSEN),
)
_REMOVE = sa.delete(executions).where(_CHOSEN)
_Key = tuple[str, str, str]


def retry_each(connection: sa.Connection, failed: Sequence[Execution]) -> dict[UUID, UUID | None]:
    """Move failed executions back to the queue under their ids, each with one more retry.

    Their limit keys hold no slot before they are admitted again, and their last attempts join the earlier ones.

    Args:
        connection: Where to run, in a transaction.
        failed: As they were read: what has changed since then stays as it is.

    Returns:
        Those that stay as they are, each with the live execution that has the same unique key; None: it is no longer
        there as it was read.
    """
    read_as = {execution.id: execution.completed_at for execution in failed}
    locked = [
        row
        for row in connection.execute(_LOCK, {"ids": list(read_as)}).mappings()
        if row["completed_at"] == read_as[row["id"]]
    ]
    holders = _holders(connection, locked)
    refused: dict[UUID, UUID | None] = dict.fromkeys(read_as.keys() - {row["id"] for row in locked})
    moved: list[sa.RowMapping] = []
    for row in locked:
        key = _key(row)
        holder = row["id"] if key is None else holders.setdefault(key, row["id"])  # of two in one batch, the older one
        if holder == row["id"]:
            moved.append(row)
        else:
            refused[row["id"]] = holder
    if moved:
        chosen = {"ids": [row["id"] for row in moved]}
        for statement in (_KEEP_ATTEMPTS, _QUEUE, _REMOVE):
            connection.execute(statement, chosen)
        limit_keys.admit_each(connection, [(row["environment"], row["limit_key"]) for row in moved])
    return refused


def _holders(connection: sa.Connection, rows: Iterable[sa.RowMapping]) -> dict[_Key, UUID]:
    """Return who holds the unique keys of some executions now."""
    held = [row for row in rows if row["unique_key"] is not None]
    if not held:
        return {}
    wanted = {f"{name}s": sorted({row[name] for row in held}) for name in ("environment", "job_name", "unique_key")}
    found = connection.execute(_HOLDERS, wanted).mappings()
    return {(row["environment"], row["job_name"], row["unique_key"]): row["id"] for row in found}


def _key(row: sa.RowMapping) -> _Key | None:
    return None if row["unique_key"] is None else (row["environment"], row["job_name"], row["unique_key"])
