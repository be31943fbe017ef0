"""Pauses of everything: spans in which no schedule of an environment fires, kept so that each tick knows its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status, Trigger
from mainspring.store.engine.dialect import store_now
from mainspring.store.queue import endings
from mainspring.store.runs import executions
from mainspring.store.tables import executions_live, pauses

if TYPE_CHECKING:
    from datetime import datetime

AT_ONCE: Final = 500
"""How many executions one transaction stops, so that it locks nobody out."""
_BY_SCHEDULE: Final = [trigger.value for trigger in (Trigger.CRON, Trigger.INTERVAL, Trigger.STARTUP)]
_live = executions_live.c


@dataclass(frozen=True, slots=True)
class PauseOfAll:
    """A span in which no schedule fires.

    Attributes:
        starts_at: Since when; this instant itself still fires.
        ends_at: Until when, this instant included; None: until somebody resumes.
        by: Who paused.
        reason: Why.
    """

    starts_at: datetime
    ends_at: datetime | None
    by: str
    reason: str | None

    def holds_at(self, instant: datetime) -> bool:
        """Whether nothing fires at an instant."""
        return self.starts_at < instant and (self.ends_at is None or instant <= self.ends_at)


_OF_ENVIRONMENT = pauses.c.environment == sa.bindparam("b_environment")
_LASTS = sa.or_(pauses.c.ends_at.is_(None), pauses.c.ends_at > store_now())
_SINCE = (
    sa.select(pauses)
    .where(
        _OF_ENVIRONMENT,
        sa.or_(pauses.c.ends_at.is_(None), pauses.c.ends_at > sa.bindparam("b_since", type_=pauses.c.ends_at.type)),
    )
    .order_by(pauses.c.starts_at)
)
_IN_FORCE = sa.select(pauses).where(_OF_ENVIRONMENT, _LASTS).order_by(pauses.c.starts_at.desc()).limit(1)


def since(connection: sa.Connection, environment: str, instant: datetime) -> list[PauseOfAll]:
    """Return the pauses that last or ended after an instant, the oldest first."""
    return list(map(_pause, connection.execute(_SINCE, {"b_environment": environment, "b_since": instant})))


def in_force(connection: sa.Connection, environment: str) -> PauseOfAll | None:
    """Return the pause that is in force now."""
    row = connection.execute(_IN_FORCE, {"b_environment": environment}).first()
    return None if row is None else _pause(row)


def _pause(row: Any) -> PauseOfAll:  # noqa: ANN401 - a row of either driver
    return PauseOfAll(row.starts_at, row.ends_at, row.paused_by, row.reason)


_CHANGE = (
    sa.update(pauses)
    .where(_OF_ENVIRONMENT, _LASTS)
    .values(
        ends_at=sa.bindparam("b_until", type_=pauses.c.ends_at.type),
        paused_by=sa.bindparam("b_by"),
        reason=sa.bindparam("b_reason", type_=sa.Text()),
    )
)


def begin(connection: sa.Connection, environment: str, *, until: datetime | None, by: str, reason: str | None) -> None:
    """Pause from now on, or change the pause that is in force: its beginning stays.

    Args:
        connection: Where to run, in a transaction.
        environment: Whose schedules.
        until: When it ends by itself; None: when somebody resumes.
        by: Who pauses.
        reason: Why.
    """
    said = {"b_environment": environment, "b_until": until, "b_by": by, "b_reason": reason}
    if not connection.execute(_CHANGE, said).rowcount:
        new = pauses.insert().values(
            environment=environment, starts_at=store_now(), ends_at=until, paused_by=by, reason=reason
        )
        connection.execute(new)


_END = sa.update(pauses).where(_OF_ENVIRONMENT, _LASTS).values(ends_at=store_now(), resumed_by=sa.bindparam("b_by"))


def end(connection: sa.Connection, environment: str, *, by: str) -> bool:
    """End the pause that is in force now; whether there was one."""
    return connection.execute(_END, {"b_environment": environment, "b_by": by}).rowcount > 0


_STARTED_BY_SCHEDULES = (
    sa.select(_live.id)
    .where(
        _live.environment == sa.bindparam("b_environment"),
        _live.trigger.in_(_BY_SCHEDULE),
        _live.cancel_requested_at.is_(None),
    )
    .order_by(_live.id)
    .limit(AT_ONCE)
)


def stop_runs(connection: sa.Connection, environment: str) -> int:
    """Cancel executions that schedules have started: what waits ends now, what runs is asked to stop.

    Returns:
        How many, at most `AT_ONCE`; as many as that: there may be more.
    """
    ids = list(connection.execute(_STARTED_BY_SCHEDULES, {"b_environment": environment}).scalars())
    ended = set(endings.end(connection, ids, status=Status.CANCELLED))
    for execution_id in ids:
        if execution_id not in ended:
            executions.request_cancel(connection, execution_id)
    return len(ids)
