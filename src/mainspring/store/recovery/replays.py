"""Replays: which executions they run again, each once, how those ended, and what is to be started next.

An execution is in one replay at most: its row in `replayed_executions` says in which, and as what it was run again.
What a replay has not started when it ends is given back, so that the next one may take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.replay import (
    MOST_REPLAYED,
    Progress,
    Replay,
    ReplayOutcome,
    ReplayPlan,
    ReplayStatus,
    next_step,
)
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.queue import enqueues
from mainspring.store.queue.enqueues import NewExecution
from mainspring.store.scheduling.run_template import run_template
from mainspring.store.tables import definitions, executions, executions_live, nodes, replayed_executions, replays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

REPLAYS: Final = "replays"
"""The topic of signals that tell of replays that have begun."""
_MOST_SETTLED: Final = 1_000
_c = replays.c
_item = replayed_executions.c
_ended = executions.c
_environment: sa.BindParameter[str] = sa.bindparam("b_environment", type_=sa.Text())
_id = sa.bindparam("b_id", type_=_c.id.type)

REPLAYED_COLUMNS: Final = (
    _ended.queue, _ended.job_name, _ended.payload, _ended.organization_id, _ended.user_id, _ended.priority,
    _ended.max_retries, _ended.unique_key, _ended.limit_key, _ended.limit_max, _ended.search_terms,
    _ended.fail_when_lost, _ended.webhook_url,
)  # fmt: skip
"""What the new execution has in common with the one that failed."""


def candidates(replay: Replay) -> sa.Select[tuple[UUID]]:
    """Return the ids of what a replay would run again, the oldest first; what another one has taken is left out."""
    found = sa.select(_ended.id).where(
        _ended.environment == replay.environment,
        _ended.error_fingerprint == replay.fingerprint,
        _ended.job_name == replay.job_name,
        _ended.status == Status.FAILED.value,
        ~sa.exists().where(_item.execution_id == _ended.id),
    )
    if replay.failed_from is not None:
        found = found.where(_ended.completed_at >= replay.failed_from)
    if replay.failed_until is not None:
        found = found.where(_ended.completed_at < replay.failed_until)
    if replay.code_version is not None:
        found = found.where(
            sa.exists().where(nodes.c.id == _ended.node_id, nodes.c.code_version == replay.code_version)
        )
    return found.order_by(_ended.id).limit(MOST_REPLAYED)


def count(connection: sa.Connection, replay: Replay) -> int:
    """Return how many executions a replay would run again."""
    return connection.execute(sa.select(sa.func.count()).select_from(candidates(replay).subquery())).scalar_one()


def add(connection: sa.Connection, replay: Replay) -> int:
    """Enter a replay that begins at once, and return how many executions it has taken.

    Args:
        connection: Where to run, in a transaction.
        replay: What it is; what it says of its progress and its instants is not looked at.
    """
    found = candidates(replay).subquery()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    taken = insert(replayed_executions).from_select(
        ["execution_id", "replay_id"], sa.select(found.c.id, sa.literal(replay.id, _c.id.type)).where(sa.true())
    )
    requested = connection.execute(taken.on_conflict_do_nothing()).rowcount
    connection.execute(
        sa.insert(replays).values(
            id=replay.id,
            environment=replay.environment,
            job_name=replay.job_name,
            fingerprint=replay.fingerprint,
            code_version=replay.code_version,
            failed_from=replay.failed_from,
            failed_until=replay.failed_until,
            canary=replay.plan.canary,
            per_minute=replay.plan.per_minute,
            stop_after=replay.plan.stop_after,
            status=ReplayStatus.CANARY.value,
            next_at=store_now(),
            requested=requested,
            created_by=replay.created_by,
            reason=replay.reason,
            created_at=store_now(),
        )
    )
    return requested


_OF_ENVIRONMENT = sa.select(replays).where(_c.environment == _environment)
_GET = _OF_ENVIRONMENT.where(_c.id == _id)
_PAGE = _OF_ENVIRONMENT.order_by(_c.created_at.desc(), _c.id.desc())
_COUNT = sa.select(sa.func.count()).select_from(replays).where(_c.environment == _environment)


def get(connection: sa.Connection, environment: str, replay_id: UUID, *, locked: bool = False) -> Replay | None:
    """Return a replay.

    Args:
        connection: Where to run.
        environment: Its environment.
        replay_id: Which one.
        locked: Whether its row is locked, so that nobody goes on with it meanwhile.
    """
    wanted = _GET.with_for_update() if locked else _GET
    row = connection.execute(wanted, {"b_environment": environment, "b_id": replay_id}).first()
    return None if row is None else _replay(row)


def page(connection: sa.Connection, environment: str, *, skip: int, size: int) -> tuple[list[Replay], int]:
    """Return replays, the newest first, and how many there are."""
    asked = {"b_environment": environment}
    rows = connection.execute(_PAGE.offset(skip).limit(size), asked)
    return [_replay(row) for row in rows], connection.execute(_COUNT, asked).scalar_one()


# Going on -------------------------------------------------------------------------------------------------------------

_DUE = (
    sa.select(replays)
    .where(_environment == _c.environment, _c.next_at <= store_now())
    .order_by(_c.next_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_NEXT = sa.select(sa.func.min(_c.next_at), store_now()).where(_c.environment == _environment, _c.next_at.is_not(None))
_ENDED = (
    sa.select(_item.execution_id, _ended.status, _ended.error_fingerprint)
    .outerjoin_from(replayed_executions, executions, _ended.id == _item.replayed_as)
    .where(
        _item.replay_id == _id,
        _item.outcome.is_(None),
        _item.replayed_as.is_not(None),
        ~sa.exists().where(executions_live.c.id == _item.replayed_as),
    )
    .limit(_MOST_SETTLED)
)
"""What is neither alive nor in the history has ended, and was not kept."""
_THE_EXECUTION = sa.update(replayed_executions).where(
    _item.execution_id == sa.bindparam("b_execution", type_=_item.execution_id.type)
)
_SETTLE = _THE_EXECUTION.values(outcome=sa.bindparam("b_outcome", type_=sa.Text()))
_MARK = _THE_EXECUTION.values(replayed_as=sa.bindparam("b_as", type_=_item.replayed_as.type))
_TO_START = (
    sa.select(_item.execution_id, *REPLAYED_COLUMNS, _ended.id.label("found"))
    .outerjoin_from(replayed_executions, executions, _ended.id == _item.execution_id)
    .where(_item.replay_id == _id, _item.outcome.is_(None), _item.replayed_as.is_(None))
    .order_by(_item.execution_id)
    .limit(sa.bindparam("most"))
)
_GIVE_BACK = sa.delete(replayed_executions).where(_item.replay_id == _id, _item.replayed_as.is_(None))
_FORGET = sa.delete(replayed_executions).where(
    _item.execution_id == sa.bindparam("b_execution", type_=_item.execution_id.type)
)
_GO_ON = (
    sa.update(replays)
    .where(_c.id == _id)
    .values(
        status=sa.bindparam("b_status", type_=sa.Text()),
        requested=sa.bindparam("b_requested", type_=sa.Integer()),
        started=sa.bindparam("b_started", type_=sa.Integer()),
        succeeded=sa.bindparam("b_succeeded", type_=sa.Integer()),
        failed_same=sa.bindparam("b_same", type_=sa.Integer()),
        failed_otherwise=sa.bindparam("b_otherwise", type_=sa.Integer()),
        next_at=sa.case(
            (sa.bindparam("b_ends", type_=sa.Boolean()), sa.null()),
            else_=store_now_plus(sa.bindparam("b_again_in", type_=sa.Double())),
        ),
        ended_at=sa.case((sa.bindparam("b_ends", type_=sa.Boolean()), store_now()), else_=sa.null()),
    )
)
_CANCEL = (
    sa.update(replays)
    .where(_c.id == _id, _c.next_at.is_not(None))
    .values(
        status=ReplayStatus.CANCELLED.value,
        next_at=None,
        ended_by=sa.bindparam("b_by", type_=sa.Text()),
        ended_at=store_now(),
    )
)
_TEMPLATE = sa.select(definitions.c.queue, definitions.c.code, definitions.c.override).where(
    definitions.c.environment == _environment, definitions.c.name == sa.bindparam("b_job")
)


def advance(connection: sa.Connection, environment: str, new_id: Callable[[], UUID]) -> Replay | None:
    """Go on with the replay that is due first, if nobody else does just now, and return how it stands then.

    Args:
        connection: Where to run, in a transaction.
        environment: Whose replays.
        new_id: Makes the ids of new executions.
    """
    row = connection.execute(_DUE, {"b_environment": environment}).first()
    if row is None:
        return None
    replay = _replay(row)
    progress = _settle(connection, replay)
    step = next_step(replay.plan, replay.status, progress)
    started, gone = _start(connection, replay, step.start, new_id) if step.start else (0, 0)
    if step.status.is_final:
        connection.execute(_GIVE_BACK, {"b_id": replay.id})
    values = {
        "b_id": replay.id,
        "b_status": step.status.value,
        "b_requested": progress.requested - gone,
        "b_started": progress.started + started,
        "b_succeeded": progress.succeeded,
        "b_same": progress.failed_same,
        "b_otherwise": progress.failed_otherwise,
        "b_ends": step.status.is_final,
        "b_again_in": step.again_in or 0.0,
    }
    connection.execute(_GO_ON, values)
    return get(connection, environment, replay.id)


def seconds_to_next(connection: sa.Connection, environment: str) -> float | None:
    """Return how long until a replay has to be looked at; None: none is under way."""
    next_at, now = connection.execute(_NEXT, {"b_environment": environment}).one()
    return None if next_at is None else max(0.0, (next_at - now).total_seconds())


def cancel(connection: sa.Connection, replay_id: UUID, *, by: str) -> bool:
    """Start nothing more of a replay; what it has started goes on. Return whether it was under way."""
    if not connection.execute(_CANCEL, {"b_id": replay_id, "b_by": by}).rowcount:
        return False
    connection.execute(_GIVE_BACK, {"b_id": replay_id})
    return True


def _settle(connection: sa.Connection, replay: Replay) -> Progress:
    """Keep how executions ended that were run again."""
    rows = connection.execute(_ENDED, {"b_id": replay.id}).all()
    outcomes = {row.execution_id: _outcome(replay, row) for row in rows}
    if outcomes:
        connection.execute(_SETTLE, [{"b_execution": key, "b_outcome": end.value} for key, end in outcomes.items()])
    ends = list(outcomes.values())
    before = replay.progress
    return Progress(
        before.requested,
        before.started,
        before.succeeded + ends.count(ReplayOutcome.SUCCEEDED),
        before.failed_same + ends.count(ReplayOutcome.SAME),
        before.failed_otherwise + ends.count(ReplayOutcome.OTHERWISE),
    )


def _outcome(replay: Replay, row: Any) -> ReplayOutcome:  # noqa: ANN401 - a row of either driver
    if row.status == Status.SUCCEEDED.value:
        return ReplayOutcome.SUCCEEDED
    is_same = row.status == Status.FAILED.value and row.error_fingerprint == replay.fingerprint
    return ReplayOutcome.SAME if is_same else ReplayOutcome.OTHERWISE


def _start(connection: sa.Connection, replay: Replay, most: int, new_id: Callable[[], UUID]) -> tuple[int, int]:
    """Run executions again, and return how many; and how many the history does not hold any more."""
    rows = connection.execute(_TO_START, {"b_id": replay.id, "most": most}).all()
    gone = [row.execution_id for row in rows if row.found is None]
    if gone:
        connection.execute(_FORGET, [{"b_execution": execution_id} for execution_id in gone])
    found = [row for row in rows if row.found is not None]
    kept = enqueues.insert(connection, _again(connection, replay, found, new_id))
    if found:
        marks = [{"b_execution": row.execution_id, "b_as": new} for row, new in zip(found, kept, strict=True)]
        connection.execute(_MARK, marks)
    return len(found), len(gone)


def _again(
    connection: sa.Connection, replay: Replay, rows: Sequence[Any], new_id: Callable[[], UUID]
) -> list[NewExecution]:
    names = {"b_environment": replay.environment, "b_job": replay.job_name}
    said = connection.execute(_TEMPLATE, names).first()
    template = None if said is None else run_template(replay.job_name, said.queue, said.code, said.override)
    return [
        NewExecution(
            id=new_id(),
            environment=replay.environment,
            trigger=Trigger.ADMIN,
            replay_of=row.execution_id,
            rate=None if template is None else template.rate,
            **{column.name: getattr(row, column.name) for column in REPLAYED_COLUMNS},
        )
        for row in rows
    ]


def _replay(row: Any) -> Replay:  # noqa: ANN401 - as above
    return Replay(
        id=row.id,
        environment=row.environment,
        job_name=row.job_name,
        fingerprint=row.fingerprint,
        code_version=row.code_version,
        failed_from=row.failed_from,
        failed_until=row.failed_until,
        plan=ReplayPlan(row.canary, row.per_minute, row.stop_after),
        status=ReplayStatus(row.status),
        progress=Progress(row.requested, row.started, row.succeeded, row.failed_same, row.failed_otherwise),
        created_by=row.created_by,
        reason=row.reason,
        ended_by=row.ended_by,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
