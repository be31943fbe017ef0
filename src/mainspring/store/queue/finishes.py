"""The hot path's second half: the ends of attempts, in batches, each guarded by its fence."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.domain.write_door import MAX_VALUE_BYTES, verbatim_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.engine.lists import one_of
from mainspring.store.queue import dependents, endings, finishes_postgresql, finishes_sqlite, limit_keys, webhooks
from mainspring.store.scheduling import job_dependencies
from mainspring.store.tables import attempts, executions_live

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.domain.circuit_breaker import CircuitBreaker

_live = executions_live.c
_OPTIONAL_TEXTS: Final = (
    "result", "error", "error_message", "error_class", "error_fingerprint", "skip_reason", "message_code", "summary",
)  # fmt: skip
_optional_texts_of = attrgetter(*_OPTIONAL_TEXTS)


@dataclass(slots=True)
class Finish:
    """The end of an execution.

    Attributes:
        id: The execution.
        fence: The fence of the attempt that ended it.
        job_name: Its job, whose followers may have to be started.
        status: A final status.
        outcome: How the last attempt ended.
        duration_ms: How long that attempt took, by the monotonic clock of its node.
        limit_key: Its limit key, whose next execution may now be admitted.
        adds_lost: Whether `lost_count` grows.
        breaker: What its job declares about being held back, if it does.
    """

    id: UUID
    fence: int
    job_name: str
    status: Status
    outcome: Outcome
    duration_ms: int
    result: str | None = None
    error: str | None = None
    error_message: str | None = None
    error_class: str | None = None
    error_fingerprint: str | None = None
    skip_reason: str | None = None
    message_code: str | None = None
    summary: str | None = None
    limit_key: str | None = None
    adds_lost: bool = False
    breaker: CircuitBreaker | None = None


@dataclass(slots=True)
class Release:
    """The end of an attempt whose execution goes on: a retry, a hand-back.

    Attributes:
        id: The execution.
        fence: The fence of the attempt that ended.
        outcome: How that attempt ended.
        wait_seconds: The pause before it may be claimed again, at least 0.
        retrying: Whether the system granted a retry; a hand-back is queued again instead.
        adds_retry: Whether `retry_count` grows.
        adds_lost: Whether `lost_count` grows.
        isolate: Whether it runs in a process of its own from now on.
        limit_key: Its limit key, whose next execution may now be admitted.
        job_name: Its job, where that declares a breaker.
        error_fingerprint: What that attempt failed of, where its job declares a breaker.
        breaker: As of a `Finish`.
    """

    id: UUID
    fence: int
    outcome: Outcome
    wait_seconds: float
    retrying: bool
    adds_retry: bool = False
    adds_lost: bool = False
    isolate: bool = False
    error: str | None = None
    error_message: str | None = None
    limit_key: str | None = None
    job_name: str | None = None
    error_fingerprint: str | None = None
    breaker: CircuitBreaker | None = None


def finish(
    connection: sa.Connection, environment: str, ends: Sequence[Finish], new_id: Callable[[], UUID] | None = None
) -> set[UUID]:
    """Move executions that ended into history.

    Args:
        connection: Where to run, in a transaction.
        environment: The node's environment.
        ends: What ended; each execution at most once.
        new_id: Makes the ids of the runs of jobs that follow; None: there is no success among the ends.

    Returns:
        The ids that were moved. One that is missing was fenced off: another attempt holds it, and nothing was written.
    """
    if not ends:
        return set()
    module = finishes_postgresql if connection.dialect.name == "postgresql" else finishes_sqlite
    moved = module.move(connection, _columns(ends))
    webhooks.announce(connection, moved.announced)
    if len(moved.ids) < len(ends):
        ends = [end for end in ends if end.id in moved.ids]
    awaited = [(end.id, end.status) for end in ends if end.id in moved.awaited] if moved.awaited else []
    keys = dependents.settle(connection, awaited)
    keys += [(environment, end.limit_key) for end in ends if end.limit_key is not None]
    if new_id is not None and moved.has_followers:
        succeeded = [end.job_name for end in ends if end.status is Status.SUCCEEDED]
        followers = job_dependencies.follow(connection, environment, succeeded, new_id)
        keys += [(environment, new.limit_key) for new in followers]
    limit_keys.admit_each(connection, keys)
    return moved.ids


def _columns(ends: Sequence[Finish]) -> dict[str, Sequence[Any]]:
    """Return what history is to keep of ends, column by column: a batch is read in C, and most texts are in no end.

    Texts pass the write door once more: one NUL would keep a whole batch of other executions from ending.
    """
    columns: dict[str, Sequence[Any]] = {
        "id": [end.id for end in ends],
        "fence": [end.fence for end in ends],
        "lost": [int(end.adds_lost) for end in ends],
        "duration_ms": [end.duration_ms for end in ends],
        "status": [end.status for end in ends],
        "outcome": [end.outcome for end in ends],
    }
    for name, texts in zip(_OPTIONAL_TEXTS, zip(*map(_optional_texts_of, ends), strict=True), strict=True):
        if texts.count(None) < len(texts):
            columns[name] = [None if text is None else verbatim_text(text, MAX_VALUE_BYTES) for text in texts]
    return columns


HELD_BY_ATTEMPT = sa.and_(
    _live.id == sa.bindparam("b_id"), _live.fence == sa.bindparam("b_fence"), _live.stage == sa.literal_column("3")
)
"""The row of `b_id`, while the attempt of `b_fence` holds it."""
_HELD = (
    sa.select(_live.id, _live.fence, _live.cancel_requested_at)
    .where(one_of(_live.id, "ids"), _live.stage == sa.literal_column("3"))
    .order_by(_live.id)
    .with_for_update()
)
KEEP_ATTEMPT = sa.insert(attempts).from_select(
    ["execution_id", "fence", "number", "node_id", "started_at", "completed_at", "outcome", "error"],
    sa.select(
        _live.id,
        _live.fence,
        _live.attempt,
        _live.node_id,
        _live.started_at,
        store_now(),
        sa.bindparam("b_outcome", type_=sa.Text()),
        sa.bindparam("b_error", type_=sa.Text()),
    ).where(HELD_BY_ATTEMPT),
)
"""Keeps an attempt that has ended, before its execution goes on under another one."""
_wait: sa.ColumnElement[float] = sa.bindparam("b_wait", type_=sa.Double[float]())
_RELEASE = (
    sa.update(executions_live)
    .where(HELD_BY_ATTEMPT)
    .values(
        stage=sa.case(
            (_wait > 0, int(Stage.WAITING)),
            (_live.limit_key.is_not(None), int(Stage.PARKED)),
            else_=int(Stage.READY),
        ),
        available_at=store_now_plus(_wait),
        node_id=None,
        lease_until=None,
        retrying=sa.bindparam("b_retrying", type_=sa.Boolean()),
        retry_count=_live.retry_count + sa.bindparam("b_adds_retry", type_=sa.SmallInteger()),
        lost_count=_live.lost_count + sa.bindparam("b_adds_lost", type_=sa.SmallInteger()),
        isolate=sa.or_(_live.isolate, sa.bindparam("b_isolate", type_=sa.Boolean())),
        error=sa.bindparam("b_error", type_=sa.Text()),
        error_message=sa.bindparam("b_message", type_=sa.Text()),
        updated_at=store_now(),
    )
)


def release(connection: sa.Connection, environment: str, releases: Sequence[Release]) -> set[UUID]:
    """Give executions back whose attempt ended but which go on, and keep that attempt.

    One that somebody has wanted cancelled meanwhile does not go on: it is cancelled here.

    Returns:
        The ids that were given back; one that is missing was fenced off.
    """
    locked = connection.execute(_HELD, {"ids": [item.id for item in releases]}).all()
    fences = {row.id: row.fence for row in locked}
    held = [item for item in releases if fences.get(item.id) == item.fence]
    if held:
        rows = [_values(item) for item in held]
        connection.execute(KEEP_ATTEMPT, rows)
        connection.execute(_RELEASE, rows)
    given_back = {item.id for item in held}
    unwanted = [row.id for row in locked if row.id in given_back and row.cancel_requested_at is not None]
    keys = [(environment, item.limit_key) for item in releases]
    endings.end(connection, unwanted, status=Status.CANCELLED, keys=keys)
    return given_back


def _values(item: Release) -> dict[str, Any]:
    return {
        "b_id": item.id,
        "b_fence": item.fence,
        "b_outcome": item.outcome.value,
        "b_error": item.error,
        "b_wait": item.wait_seconds,
        "b_retrying": item.retrying,
        "b_adds_retry": int(item.adds_retry),
        "b_adds_lost": int(item.adds_lost),
        "b_isolate": item.isolate,
        "b_message": verbatim_text(item.error_message, MAX_VALUE_BYTES) if item.error_message is not None else None,
    }
