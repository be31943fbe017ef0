"""Attempts that a service has accepted: the work goes on elsewhere, under a lease of its own (design 4).

Its node has given the slot back. What keeps the execution from being lost is `lease_until`, which each callback moves
on: never past the attempt's deadline, and past a wish to cancel by no more than work here gets to stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.execution import STOP_SECONDS, Outcome, Progress, Trigger
from mainspring.observability.run_identity import RunIdentity
from mainspring.store.engine.dialect import InstantPlus, store_now, store_now_plus
from mainspring.store.jobs.stored_policy import breaker_of, retry_of, timeout_of
from mainspring.store.queue import progress_reports
from mainspring.store.runs.execution_rows import read_json
from mainspring.store.tables import attempts, breakers, definitions, executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.domain.circuit_breaker import CircuitBreaker
    from mainspring.domain.retry import Retry

_ENDED_AT_ONCE: Final = 500
_TOLD_BY_THE_SERVICE: Final = tuple(
    outcome.value for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SKIPPED, Outcome.INTERRUPTED)
)

_live = executions_live.c
_IS_HELD = sa.and_(
    _live.id == sa.bindparam("b_id"), _live.fence == sa.bindparam("b_fence"), _live.stage == sa.literal_column("3")
)
_NEXT_END = store_now_plus(sa.bindparam("lease", type_=sa.Double()))
_GRACE: sa.ColumnElement[float] = sa.literal(STOP_SECONDS, sa.Double())
_STOPS_AT = sa.case(
    (_live.cancel_requested_at < _live.deadline_at, InstantPlus(_live.cancel_requested_at, _GRACE)),
    else_=InstantPlus(_live.deadline_at, _GRACE),
)


@dataclass(frozen=True, slots=True)
class HandOver:
    """The news that a service has accepted an attempt.

    Attributes:
        id: The execution.
        fence: The fence of the attempt.
        lease_seconds: How long it is held without a callback.
        seconds_left: How long the attempt may run from now on.
    """

    id: UUID
    fence: int
    lease_seconds: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of an attempt that is held, under the lock of its row.

    Attributes:
        service_name: Who carries it out.
        now: The store's present instant.
        timeout: The longest that an attempt of its job may run.
    """

    id: UUID
    environment: str
    job_name: str
    service_name: str | None
    fence: int
    attempt: int
    trigger: Trigger
    trace_context: str | None
    created_at: datetime
    scheduled_at: datetime | None
    started_at: datetime
    now: datetime
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    retry_count: int
    lost_count: int
    max_retries: int
    limit_key: str | None
    fail_when_lost: bool
    retry: Retry | None
    breaker: CircuitBreaker | None
    timeout: timedelta
    progress: Progress

    @property
    def run(self) -> RunIdentity:
        """Whose run it is, for log lines and whoever is told of its end."""
        trigger, trace = self.trigger.value, self.trace_context
        return RunIdentity(self.job_name, str(self.id), self.attempt, trigger, None, trace, self.service_name)

    @property
    def is_past_deadline(self) -> bool:
        """Whether it has run out of time."""
        return self.deadline_at is not None and self.deadline_at <= self.now

    @property
    def is_to_stop(self) -> bool:
        """Whether the work is wanted no more."""
        return self.cancel_requested_at is not None or self.is_past_deadline


_HAND_OVER = (
    sa.update(executions_live)
    .where(_IS_HELD)
    .values(
        lease_until=_NEXT_END,
        deadline_at=store_now_plus(sa.bindparam("left", type_=sa.Double())),
        last_heartbeat=store_now(),
        updated_at=store_now(),
    )
)


def hand_over(connection: sa.Connection, accepted: Sequence[HandOver]) -> set[UUID]:
    """Give attempts a lease of their own, and return the ids of those that were held: others have ended meanwhile."""
    held: set[UUID] = set()
    for item in sorted(accepted, key=lambda item: item.id):
        names = {"b_id": item.id, "b_fence": item.fence, "lease": item.lease_seconds, "left": item.seconds_left}
        if connection.execute(_HAND_OVER, names).rowcount:
            held.add(item.id)
    return held


_RENEW = (
    sa.update(executions_live)
    .where(_IS_HELD)
    .values(
        # The lease of a row that has none of its own is its node's, and stays so.
        lease_until=sa.case(
            (_live.lease_until.is_(None), None),
            (sa.and_(_live.deadline_at.is_not(None), _STOPS_AT < _NEXT_END), _STOPS_AT),
            else_=_NEXT_END,
        ),
        last_heartbeat=store_now(),
    )
)


def renew(connection: sa.Connection, execution_id: UUID, fence: int, *, lease_seconds: float) -> Held | None:
    """Note that the work is alive, and return what is known of it; None: the attempt is not held any more."""
    names = {"b_id": execution_id, "b_fence": fence}
    if not connection.execute(_RENEW, names | {"lease": lease_seconds}).rowcount:
        return None
    return lock(connection, execution_id, fence)


_FACTS = (
    sa.select(
        *(executions_live.c[name] for name in (
            "id", "environment", "job_name", "fence", "attempt", "trigger", "trace_context", "created_at", "started_at",
            "scheduled_at", "deadline_at", "cancel_requested_at", "retry_count", "lost_count", "max_retries",
            "limit_key", "fail_when_lost", "progress", "current_step", "total_steps", "progress_message",
            "items_processed", "items_succeeded", "items_failed",
        )),
        definitions.c.service_name, definitions.c.code, definitions.c.override, store_now().label("now"),
    )
    .outerjoin(
        definitions, sa.and_(definitions.c.environment == _live.environment, definitions.c.name == _live.job_name)
    )
)  # fmt: skip
_LOCK = _FACTS.where(_IS_HELD).with_for_update(of=executions_live)


def lock(connection: sa.Connection, execution_id: UUID, fence: int) -> Held | None:
    """Return what is known of an attempt, under the lock of its row; None: it is not held any more."""
    row = connection.execute(_LOCK, {"b_id": execution_id, "b_fence": fence}).first()
    return None if row is None else _held(row)


def _locking_breakers(which: sa.ColumnElement[bool]) -> sa.Select[str]:
    is_its_job = sa.and_(_live.environment == breakers.c.environment, _live.job_name == breakers.c.job_name)
    return (
        sa.select(breakers.c.job_name)
        .where(sa.exists().where(is_its_job, which))
        .order_by(breakers.c.environment, breakers.c.job_name)
        .with_for_update(of=breakers)
    )


_LOCK_BREAKER = _locking_breakers(_live.id == sa.bindparam("b_id"))


def lock_to_end(connection: sa.Connection, execution_id: UUID, fence: int) -> Held | None:
    """Return what is known of an attempt that ends, as `lock` does; the breaker of its job is locked before it."""
    connection.execute(_LOCK_BREAKER, {"b_id": execution_id})
    return lock(connection, execution_id, fence)


_IS_OVERDUE = sa.and_(_live.lease_until < store_now(), _live.stage == sa.literal_column("3"))
_IS_ANY_OVERDUE = sa.select(sa.exists().where(_IS_OVERDUE))
_OVERDUE = (
    _FACTS.where(_IS_OVERDUE)
    .order_by(_live.environment, _live.id)
    .limit(_ENDED_AT_ONCE)
    .with_for_update(skip_locked=True, of=executions_live)
)
_LOCK_OVERDUE_BREAKERS = _locking_breakers(_IS_OVERDUE)


def is_any_overdue(connection: sa.Connection) -> bool:
    """Whether there is work whose lease is over."""
    return bool(connection.execute(_IS_ANY_OVERDUE).scalar_one())


def overdue(connection: sa.Connection) -> list[Held]:
    """Return up to 500 attempts whose lease is over, of all environments, under the locks of their rows.

    The breakers of their jobs are locked before them, in the order in which a node that writes ends locks both.
    """
    connection.execute(_LOCK_OVERDUE_BREAKERS)
    return [_held(row) for row in connection.execute(_OVERDUE)]


def report(connection: sa.Connection, held: Held, progress: Progress) -> None:
    """Write how far an attempt has come."""
    progress_reports.write(connection, reports=[progress_reports.Report(held.id, held.fence, progress)])


_TOLD = sa.union_all(
    sa.select(executions.c.outcome).where(
        executions.c.id == sa.bindparam("b_id"), executions.c.fence == sa.bindparam("b_fence")
    ),
    sa.select(attempts.c.outcome).where(
        attempts.c.execution_id == sa.bindparam("b_id"), attempts.c.fence == sa.bindparam("b_fence")
    ),
)


def has_told_its_end(connection: sa.Connection, execution_id: UUID, fence: int) -> bool:
    """Whether an attempt has ended as its service said, so that it may say so once more."""
    outcomes = connection.execute(_TOLD, {"b_id": execution_id, "b_fence": fence}).scalars().all()
    return any(outcome in _TOLD_BY_THE_SERVICE for outcome in outcomes)


def _held(row: Any) -> Held:  # noqa: ANN401 - a row of either driver
    said: dict[str, Any] = {} if row.code is None else orjson.loads(row.code) | (read_json(row.override) or {})
    return Held(
        id=row.id,
        environment=row.environment,
        job_name=row.job_name,
        service_name=row.service_name,
        fence=row.fence,
        attempt=row.attempt,
        trigger=Trigger(row.trigger),
        trace_context=row.trace_context,
        created_at=row.created_at,
        scheduled_at=row.scheduled_at,
        started_at=row.started_at,
        now=row.now,
        deadline_at=row.deadline_at,
        cancel_requested_at=row.cancel_requested_at,
        retry_count=row.retry_count,
        lost_count=row.lost_count,
        max_retries=row.max_retries,
        limit_key=row.limit_key,
        fail_when_lost=row.fail_when_lost,
        retry=retry_of(said),
        breaker=breaker_of(said),
        timeout=timeout_of(said),
        progress=Progress(
            percent=row.progress,
            current_step=row.current_step,
            total_steps=row.total_steps,
            message=row.progress_message,
            items_processed=row.items_processed,
            items_succeeded=row.items_succeeded,
            items_failed=row.items_failed,
        ),
    )
