"""The hot path's second half: the ends of attempts, in batches, each guarded by its fence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Outcome, Stage, Status
from mainspring.store import dependents, limits
from mainspring.store.dialect import clock_shift, store_now, store_now_plus
from mainspring.store.tables import attempts, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

_live = executions_live.c
_ended = executions.c


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an execution.

    Attributes:
        id: The execution.
        fence: The fence of the attempt that ended it.
        status: A final status.
        outcome: How the last attempt ended.
        duration_ms: How long that attempt took, by the monotonic clock of its node.
        limit_key: Its limit key, whose next execution may now be admitted.
        adds_lost: Whether `lost_count` grows.
    """

    id: UUID
    fence: int
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


@dataclass(frozen=True, slots=True)
class Release:
    """The end of an attempt whose execution goes on: a retry, a hand-back."""

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


_SHARED: Final = tuple(
    column.name
    for column in executions.columns
    if column.name in executions_live.c and column.name not in {"error", "error_message", "progress", "updated_at"}
)
_SAID: Final = (
    "status", "outcome", "duration_ms", "result", "error", "error_message", "error_class", "error_fingerprint",
    "skip_reason", "message_code", "summary",
)  # fmt: skip
_NOW = "(statement_timestamp() + make_interval(secs => cast(:shift as double precision)))"

# Both arrays by `any`: exact, because a fence is never issued twice, and a plan that does not flip with table size.
_MOVE = sa.text(f"""
with ended as (
    delete from mainspring.executions_live e
    where e.id = any(cast(:ids as uuid[])) and e.fence = any(cast(:fences as bigint[])) and e.stage = 3 returning e.*),
moved as (
insert into mainspring.executions
    ({", ".join(_SHARED)}, progress, completed_at, updated_at, {", ".join(_SAID)})
select {", ".join(f"ended.{name}" for name in _SHARED)},
    case when u.status = 'succeeded' then 100 else ended.progress end, {_NOW}, {_NOW},
    {", ".join(f"u.{name}" for name in _SAID)}
from ended join unnest(
    cast(:ids as uuid[]), cast(:statuses as text[]), cast(:outcomes as text[]), cast(:durations as bigint[]),
    cast(:results as text[]), cast(:errors as text[]), cast(:messages as text[]), cast(:classes as text[]),
    cast(:fingerprints as text[]), cast(:reasons as text[]), cast(:codes as text[]), cast(:summaries as text[]))
    u(id, {", ".join(_SAID)}) on u.id = ended.id
returning id)
select m.id, e.has_dependents from moved m join ended e on e.id = m.id
""")  # noqa: S608 - only names of columns are put in

_COPY = sa.insert(executions).from_select(
    [*_SHARED, "progress", "completed_at", "updated_at", *_SAID],
    sa.select(
        *(_live[name] for name in _SHARED),
        sa.case((sa.bindparam("b_status") == Status.SUCCEEDED.value, 100), else_=_live.progress),
        store_now(),
        store_now(),
        *(sa.bindparam(f"b_{name}", type_=_ended[name].type) for name in _SAID),
    ).where(
        _live.id == sa.bindparam("b_id"),
        _live.fence == sa.bindparam("b_fence"),
        _live.stage == sa.literal_column("3"),
    ),
)
_REMOVE = sa.delete(executions_live).where(
    _live.id == sa.bindparam("b_id"), _live.fence == sa.bindparam("b_fence"), _live.stage == sa.literal_column("3")
)


def finish(connection: sa.Connection, environment: str, ends: Sequence[Finish]) -> set[UUID]:
    """Move executions that ended into history.

    Args:
        connection: Where to run, in a transaction.
        environment: The node's environment.
        ends: What ended; each execution at most once.

    Returns:
        The ids that were moved. One that is missing was fenced off: another attempt holds it, and nothing was written.
    """
    keys = limits.lock(connection, environment, [end.limit_key for end in ends if end.limit_key is not None])
    lost = [end for end in ends if end.adds_lost]
    if lost:
        connection.execute(_ADD_LOST, [{"b_id": end.id, "b_fence": end.fence} for end in lost])
    moved, awaited = (_move if connection.dialect.name == "postgresql" else _copy)(connection, ends)
    if awaited:
        dependents.settle(connection, [(end.id, end.status) for end in ends if end.id in awaited])
    if keys:
        limits.admit(connection, environment, keys)
    return moved


_ADD_LOST = (
    sa.update(executions_live)
    .where(_live.id == sa.bindparam("b_id"), _live.fence == sa.bindparam("b_fence"))
    .values(lost_count=_live.lost_count + 1)
)


def _move(connection: sa.Connection, ends: Sequence[Finish]) -> tuple[set[UUID], set[UUID]]:
    rows = connection.execute(
        _MOVE,
        {
            "ids": [end.id for end in ends],
            "fences": [end.fence for end in ends],
            "statuses": [end.status.value for end in ends],
            "outcomes": [end.outcome.value for end in ends],
            "durations": [end.duration_ms for end in ends],
            "results": [end.result for end in ends],
            "errors": [end.error for end in ends],
            "messages": [end.error_message for end in ends],
            "classes": [end.error_class for end in ends],
            "fingerprints": [end.error_fingerprint for end in ends],
            "reasons": [end.skip_reason for end in ends],
            "codes": [end.message_code for end in ends],
            "summaries": [end.summary for end in ends],
            "shift": clock_shift.get(),
        },
    ).all()
    return {row.id for row in rows}, {row.id for row in rows if row.has_dependents}


_AWAITED = sa.select(_live.id).where(_live.has_dependents)


def _copy(connection: sa.Connection, ends: Sequence[Finish]) -> tuple[set[UUID], set[UUID]]:
    guards = [{"b_id": end.id, "b_fence": end.fence} for end in ends]
    said = [
        guard | {f"b_{name}": getattr(end, name) for name in _SAID} for guard, end in zip(guards, ends, strict=True)
    ]
    awaited = set(connection.execute(_AWAITED).scalars())
    held = {end.id for end in ends}
    copied = connection.execute(_COPY, said).rowcount
    if copied < len(ends):
        held = _held(connection, ends)
    connection.execute(_REMOVE, guards)
    return held, held & awaited


def _held(connection: sa.Connection, ends: Iterable[Finish | Release]) -> set[UUID]:
    fences = {end.id: end.fence for end in ends}
    rows = connection.execute(
        sa.select(_live.id, _live.fence)
        .where(_live.id.in_(fences), _live.stage == sa.literal_column("3"))
        .order_by(_live.id)
        .with_for_update()
    )
    return {row.id for row in rows if fences[row.id] == row.fence}


_KEEP_ATTEMPT = sa.insert(attempts).from_select(
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
    ).where(
        _live.id == sa.bindparam("b_id"),
        _live.fence == sa.bindparam("b_fence"),
        _live.stage == sa.literal_column("3"),
    ),
)
_RELEASE = (
    sa.update(executions_live)
    .where(
        _live.id == sa.bindparam("b_id"), _live.fence == sa.bindparam("b_fence"), _live.stage == sa.literal_column("3")
    )
    .values(
        stage=sa.case(
            (sa.bindparam("b_wait", type_=sa.Double()) > 0, int(Stage.WAITING)),
            (_live.limit_key.is_not(None), int(Stage.PARKED)),
            else_=int(Stage.READY),
        ),
        available_at=store_now_plus(sa.bindparam("b_wait", type_=sa.Double())),
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

    Returns:
        The ids that were given back; one that is missing was fenced off.
    """
    keys = limits.lock(connection, environment, [item.limit_key for item in releases if item.limit_key is not None])
    held = _held(connection, releases)
    rows: list[dict[str, Any]] = [
        {
            "b_id": item.id,
            "b_fence": item.fence,
            "b_outcome": item.outcome.value,
            "b_error": item.error,
            "b_wait": item.wait_seconds,
            "b_retrying": item.retrying,
            "b_adds_retry": int(item.adds_retry),
            "b_adds_lost": int(item.adds_lost),
            "b_isolate": item.isolate,
            "b_message": item.error_message,
        }
        for item in sorted(releases, key=lambda item: item.id)
        if item.id in held
    ]
    if rows:
        connection.execute(_KEEP_ATTEMPT, rows)
        connection.execute(_RELEASE, rows)
    if keys:
        limits.admit(connection, environment, keys)
    return held
