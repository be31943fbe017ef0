"""What has happened since the monitors last looked: cheap enough to be asked every few seconds for ever.

Runs are counted by the instant at which they ended, from `counted_until` to a horizon. Whatever ended before that is
visible: on PostgreSQL no transaction that is still open began before it, so that none can commit an earlier end
later; on SQLite it lies a second back, far longer than an end takes to be written. So each run is counted once, by
whichever node, and the path of those who end runs knows nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.execution import Status
from mainspring.domain.health import Unwatched
from mainspring.store.engine.dialect import InstantPlus, store_now, store_now_plus
from mainspring.store.tables import definitions, executions, executions_live, job_health, nodes, schedules, watches
from mainspring.store.tables.types import Instant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SETTLING: Final = timedelta(seconds=1)
"""On SQLite: how long an end may take from its instant to its commit and still be counted."""
LONGEST_WAIT: Final = timedelta(seconds=10)
"""On PostgreSQL: how long the count waits for open transactions. A job's state is found from its history anyway."""
LONGEST_UNSEEN: Final = timedelta(minutes=10)
"""After which a job is looked at whatever happened, so that nothing that was missed stays so."""
MOST_JOBS: Final = 200
_RACE: Final = timedelta(milliseconds=100)
_CHANGES_SETTLE: Final = 4.0
_ended = executions.c
_live = executions_live.c
_health = job_health.c
_environment = sa.bindparam("environment", type_=sa.Text())


@dataclass(frozen=True, slots=True)
class Watch:
    """How far the monitors have looked; see `tables.watches`."""

    counted_until: datetime
    watched_at: datetime
    unwatched: Unwatched | None
    breached: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How many runs of a job have ended since the last count."""

    succeeded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to do for a monitor.

    Attributes:
        now: The store's instant.
        horizon: Up to which runs are counted.
        watch: How far the monitors have looked; None: no monitor has ever.
        ended: The runs that ended since, by job.
        due: Jobs whose state may change although nothing happened.
        changed: Jobs that were declared, changed, paused or resumed since they were looked at, or that were looked at
            long ago or before nobody watched; at most 200, those looked at longest ago.
        unseen: How many of `changed` nobody has ever looked at.
        gone: Jobs that code no longer declares.
        next_look_at: When a job is due next.
        alive_since: When the first of the nodes that are alive started; None: there is none.
        alive_until: When a node that is not alive any more was last heard.
    """

    now: datetime
    horizon: datetime
    watch: Watch | None
    ended: Mapping[str, Ended] = field(default_factory=dict[str, Ended])
    due: Collection[str] = ()
    changed: Collection[str] = ()
    unseen: int = 0
    gone: Collection[str] = ()
    next_look_at: datetime | None = None
    alive_since: datetime | None = None
    alive_until: datetime | None = None

    @property
    def names(self) -> list[str]:
        """The jobs to look at, the most urgent ones first."""
        return list(dict.fromkeys([*self.ended, *self.due, *self.changed]))


_WATCH = sa.select(watches, store_now().label("now")).where(watches.c.environment == _environment)
_OPEN_TRANSACTION = sa.text(
    "select extract(epoch from clock_timestamp() - min(xact_start)) from pg_stat_activity "
    "where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
)
_ENDED = (
    sa.select(_ended.job_name, _ended.status, sa.func.count().label("runs"))
    .where(
        _ended.environment == _environment,
        _ended.completed_at >= sa.bindparam("since", type_=Instant()),
        _ended.completed_at < sa.bindparam("horizon", type_=Instant()),
        _ended.status.in_([Status.SUCCEEDED.value, Status.FAILED.value]),
    )
    .group_by(_ended.job_name, _ended.status)
)
_DUE = (
    sa.select(_health.job_name)
    .where(_health.environment == _environment, _health.look_at <= store_now())
    .order_by(_health.look_at)
    .limit(MOST_JOBS)
)
_OVERRUNNING = (
    sa.select(_live.job_name)
    .join(job_health, sa.and_(_health.environment == _live.environment, _health.job_name == _live.job_name))
    .where(
        _live.environment == _environment,
        _live.stage == sa.literal_column("3"),
        _health.longest_seconds.is_not(None),
        InstantPlus(_live.started_at, _health.longest_seconds) <= store_now(),
    )
    .distinct()
    .limit(MOST_JOBS)
)
_NEXT = (
    sa.select(_health.look_at)
    .where(_health.environment == _environment, _health.look_at > store_now())
    .order_by(_health.look_at)
    .limit(1)
)
# A change is looked at again for four seconds: its instant is that of its statement, and its commit comes later.
_CHANGED = (
    sa.select(definitions.c.name, _health.job_name.is_(None).label("is_new"))
    .outerjoin(
        job_health, sa.and_(_health.environment == definitions.c.environment, _health.job_name == definitions.c.name)
    )
    .outerjoin(
        schedules,
        sa.and_(schedules.c.environment == definitions.c.environment, schedules.c.name == definitions.c.name),
    )
    .where(
        definitions.c.environment == _environment,
        definitions.c.retired_at.is_(None),
        sa.or_(
            _health.job_name.is_(None),
            InstantPlus(definitions.c.updated_at, sa.literal(_CHANGES_SETTLE, sa.Double())) > _health.evaluated_at,
            InstantPlus(schedules.c.updated_at, sa.literal(_CHANGES_SETTLE, sa.Double())) > _health.evaluated_at,
            sa.and_(schedules.c.problem.is_not(None), _health.stale_at.is_not(None)),
            _health.evaluated_at < store_now_plus(sa.literal(-LONGEST_UNSEEN.total_seconds(), sa.Double())),
            _health.evaluated_at < sa.bindparam("unwatched_until", type_=Instant()),
        ),
    )
    .order_by(_health.evaluated_at.nulls_first())
    .limit(MOST_JOBS)
)
_GONE = (
    sa.select(_health.job_name)
    .outerjoin(
        definitions,
        sa.and_(definitions.c.environment == _health.environment, definitions.c.name == _health.job_name),
    )
    .where(
        _health.environment == _environment,
        sa.or_(definitions.c.name.is_(None), definitions.c.retired_at.is_not(None)),
    )
)

_is_alive = sa.and_(nodes.c.dead_at.is_(None), nodes.c.stopped_at.is_(None), nodes.c.lease_until > store_now())
_ALIVE = sa.select(
    sa.func.min(sa.case((_is_alive, nodes.c.started_at))).label("since"),
    sa.func.max(sa.case((~_is_alive, nodes.c.last_heartbeat))).label("until"),
).where(nodes.c.environment == _environment)


def look(connection: sa.Connection, environment: str) -> Look:
    """Return what there is to do for a monitor of an environment; nothing is written."""
    asked = {"environment": environment}
    row = connection.execute(_WATCH, asked).first()
    now = connection.execute(sa.select(store_now())).scalar_one() if row is None else row.now
    horizon = now - _settling(connection)
    watch = None if row is None else _watch(row)
    counted: dict[str, dict[str, int]] = {}
    if watch is not None and horizon > watch.counted_until:
        for ended in connection.execute(_ENDED, {**asked, "since": watch.counted_until, "horizon": horizon}):
            counted.setdefault(ended.job_name, {})[ended.status] = ended.runs
    alive = connection.execute(_ALIVE, asked).one()
    unwatched_until = None if watch is None or watch.unwatched is None else watch.unwatched.end
    changed = connection.execute(_CHANGED, {**asked, "unwatched_until": unwatched_until}).all()
    due = [*connection.execute(_DUE, asked).scalars(), *connection.execute(_OVERRUNNING, asked).scalars()]
    return Look(
        now=now,
        horizon=horizon if watch is None else max(horizon, watch.counted_until),
        watch=watch,
        ended={name: Ended(**runs) for name, runs in counted.items()},
        due=due,
        changed=[job.name for job in changed],
        unseen=sum(job.is_new for job in changed),
        gone=list(connection.execute(_GONE, asked).scalars()),
        next_look_at=connection.execute(_NEXT, asked).scalar(),
        alive_since=alive.since,
        alive_until=alive.until,
    )


def _settling(connection: sa.Connection) -> timedelta:
    """Return how far back ends may still be uncommitted."""
    if connection.dialect.name == "sqlite":
        return SETTLING
    oldest = connection.execute(_OPEN_TRANSACTION).scalar()
    return min(LONGEST_WAIT, timedelta(seconds=float(oldest or 0)) + _RACE)


def _watch(row: Any) -> Watch:  # noqa: ANN401 - a row of either driver
    span = (row.unwatched_from, row.unwatched_until)
    return Watch(
        counted_until=row.counted_until,
        watched_at=row.watched_at,
        unwatched=None if None in span else Unwatched(*span),
        breached=frozenset(orjson.loads(row.breached)),
    )


_MOVED: Final[dict[str, Any]] = {
    "counted_until": sa.bindparam("b_horizon", type_=Instant()),
    "watched_at": store_now(),
    "unwatched_from": sa.bindparam("b_unwatched_from", type_=Instant()),
    "unwatched_until": sa.bindparam("b_unwatched_until", type_=Instant()),
    "breached": sa.bindparam("b_breached"),
}
_MOVE = (
    sa.update(watches)
    .where(
        watches.c.environment == sa.bindparam("b_environment"),
        watches.c.counted_until == sa.bindparam("b_counted_until", type_=Instant()),
        watches.c.watched_at == sa.bindparam("b_watched_at", type_=Instant()),
    )
    .values(_MOVED)
)


def take(
    connection: sa.Connection,
    environment: str,
    seen: Look,
    *,
    unwatched: Unwatched | None = None,
    breached: Collection[str] = (),
) -> bool:
    """Move on to what a look has seen; of all nodes that saw the same, one hears True.

    Args:
        connection: Where to run, in the transaction that writes what was found.
        environment: The environment.
        seen: The look.
        unwatched: The last span in which nobody watched.
        breached: The deduplication keys of what is wrong beside the jobs.
    """
    values = {
        "b_horizon": seen.horizon,
        "b_unwatched_from": None if unwatched is None else unwatched.start,
        "b_unwatched_until": None if unwatched is None else unwatched.end,
        "b_breached": orjson.dumps(sorted(breached)).decode(),
    }
    if seen.watch is None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        first = insert(watches).values(environment=environment, **_MOVED).on_conflict_do_nothing()
        return connection.execute(first, values).rowcount == 1
    before = {"b_counted_until": seen.watch.counted_until, "b_watched_at": seen.watch.watched_at}
    return connection.execute(_MOVE, {"b_environment": environment, **before, **values}).rowcount == 1
