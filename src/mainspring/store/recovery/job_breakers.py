"""The breaker of each job, shared by all nodes: what it holds back, and what people do with it.

Executions of a job with a breaker have a limit key, and while it is not closed their keys have no room
(`parked.ROOM_LIMIT`). So they wait parked, out of the claims' sight, and a claim never has to ask.

A breaker is locked before the executions that end, and those before their keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.domain.execution import Stage
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.lists import chosen, one_of
from mainspring.store.queue import limit_keys
from mainspring.store.tables import breakers, definitions, executions_live

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from mainspring.store.jobs.definitions import StoredDefinition

_c = breakers.c
_live = executions_live.c
_environment: sa.BindParameter[str] = sa.bindparam("b_environment", type_=sa.Text())
_job_name: sa.BindParameter[str] = sa.bindparam("b_job", type_=sa.Text())
THE_BREAKER: Final = (_c.environment == _environment, _c.job_name == _job_name)
"""The row of `b_job` in `b_environment`."""


@dataclass(frozen=True, slots=True)
class StoredBreaker:
    """The breaker of a job, as the store keeps it.

    Attributes:
        state: What it lets through.
        failures: Attempts that failed since the last one that did not.
        opened_at: Since when it has not been closed; of a closed one, when it was opened last.
        until: When a probe may be sent; None: it is closed, or held open.
        held_by: Who holds it open, until somebody lets it go.
        last_error: What the last failure said.
    """

    job_name: str
    state: BreakerState
    failures: int
    opened_at: datetime | None
    until: datetime | None
    held_by: str | None
    held_reason: str | None
    last_error: str | None
    error_fingerprint: str | None
    version: int

    @property
    def is_open(self) -> bool:
        """Whether executions of the job wait for it."""
        return self.state is not BreakerState.CLOSED


_OF_JOBS = sa.select(breakers).where(_c.environment == _environment, one_of(_c.job_name, "b_jobs"))
_LOCK = _OF_JOBS.add_columns(store_now().label("now")).order_by(_c.job_name).with_for_update()
_NOT_CLOSED = (
    sa.select(breakers)
    .where(_c.environment == _environment, _c.state != BreakerState.CLOSED.value)
    .order_by(_c.job_name)
)


def find(connection: sa.Connection, environment: str, names: Collection[str]) -> dict[str, StoredBreaker]:
    """Return what is kept of the breakers of some jobs; one that is missing is closed."""
    if not names:
        return {}
    rows = connection.execute(_OF_JOBS, {"b_environment": environment, "b_jobs": list(names)})
    return {row.job_name: _stored(row) for row in rows}


def states(connection: sa.Connection, environment: str, jobs: Collection[StoredDefinition]) -> dict[str, str]:
    """Return the states of the breakers of those of some jobs that declare one, by name."""
    names = [job.name for job in jobs if job.code.get("breaker")]
    kept = find(connection, environment, names)
    return {name: kept[name].state.value if name in kept else BreakerState.CLOSED.value for name in names}


def not_closed(connection: sa.Connection, environment: str) -> list[StoredBreaker]:
    """Return the breakers that hold executions back, by the names of their jobs."""
    return [_stored(row) for row in connection.execute(_NOT_CLOSED, {"b_environment": environment})]


_DECLARED = (
    sa.select(definitions.c.name, definitions.c.code)
    .where(
        definitions.c.environment == _environment,
        definitions.c.retired_at.is_(None),
        definitions.c.code.not_like('%"breaker":null%'),
    )
    .order_by(definitions.c.name)
)


def declared(connection: sa.Connection, environment: str) -> list[str]:
    """Return the jobs that declare a breaker, by name."""
    rows = connection.execute(_DECLARED, {"b_environment": environment})
    return [row.name for row in rows if orjson.loads(row.code).get("breaker")]


_IS_OF_JOB: Final = (_live.environment == _environment, _live.job_name == _job_name, _live.limit_key.is_not(None))
# Those that somebody holds are being claimed, or ended: they began before it opened.
_PARK = (
    sa.update(executions_live)
    .where(
        chosen(
            _live.id,
            sa.select(_live.id)
            .where(*_IS_OF_JOB, _live.stage == sa.literal_column("1"))
            .with_for_update(skip_locked=True),
        )
    )
    .values(stage=int(Stage.PARKED))
)


def park(connection: sa.Connection, environment: str, job_name: str) -> None:
    """Take what is ready of a job out of the claims' sight."""
    connection.execute(_PARK, {"b_environment": environment, "b_job": job_name})


_KEYS = sa.select(_live.limit_key).where(*_IS_OF_JOB, _live.stage == sa.literal_column("2")).distinct()


def admit(connection: sa.Connection, environment: str, names: Collection[str]) -> None:
    """Let executions of jobs go on whose breaker has closed, as far as their keys have room."""
    for name in sorted(names):
        keys = connection.execute(_KEYS, {"b_environment": environment, "b_job": name}).scalars().all()
        limit_keys.admit(connection, environment, [key for key in keys if key is not None])


def lock(connection: sa.Connection, environment: str, job_name: str) -> StoredBreaker:
    """Return the breaker of a job under the lock of its row, which is made if there is none."""
    rows = locked(connection, environment, [job_name])
    if not rows:
        make(connection, environment, [job_name])
        rows = locked(connection, environment, [job_name])
    return _stored(rows[job_name])


_HOLD_OPEN = (
    sa.update(breakers)
    .where(*THE_BREAKER)
    .values(
        state=BreakerState.OPEN.value,
        opened_at=sa.case((_c.state == BreakerState.CLOSED.value, store_now()), else_=_c.opened_at),
        until=None,
        probe_id=None,
        held_by=sa.bindparam("b_by", type_=sa.Text()),
        held_reason=sa.bindparam("b_reason", type_=sa.Text()),
        updated_at=store_now(),
        version=_c.version + 1,
    )
)
_CLOSE = (
    sa.update(breakers)
    .where(*THE_BREAKER)
    .values(
        state=BreakerState.CLOSED.value,
        failures=0,
        until=None,
        probe_id=None,
        held_by=None,
        held_reason=None,
        window_from=None,
        window_ended=0,
        window_failed=0,
        updated_at=store_now(),
        version=_c.version + 1,
    )
)


def hold_open(connection: sa.Connection, environment: str, job_name: str, *, by: str, reason: str | None) -> None:
    """Let nothing of a job through, and no probe either, until somebody closes its breaker, which the caller locks."""
    values = {"b_environment": environment, "b_job": job_name, "b_by": by, "b_reason": reason}
    connection.execute(_HOLD_OPEN, values)
    park(connection, environment, job_name)


def close(connection: sa.Connection, environment: str, job_name: str) -> None:
    """Close the breaker of a job, which the caller locks, and let its executions go on."""
    connection.execute(_CLOSE, {"b_environment": environment, "b_job": job_name})
    admit(connection, environment, [job_name])


def locked(connection: sa.Connection, environment: str, names: Sequence[str]) -> Mapping[str, Any]:
    """Return the rows of breakers by the names of their jobs, locked in that order, each with the instant."""
    rows = connection.execute(_LOCK, {"b_environment": environment, "b_jobs": names})
    return {row.job_name: row for row in rows}


def make(connection: sa.Connection, environment: str, names: Sequence[str]) -> None:
    """Make the rows of breakers that are not there yet, closed."""
    now = connection.execute(sa.select(store_now())).scalar_one()
    new = {"environment": environment, "state": BreakerState.CLOSED.value, "updated_at": now}
    limit_keys.insert_missing(connection, breakers, [new | {"job_name": name} for name in names])


def _stored(row: Any) -> StoredBreaker:  # noqa: ANN401 - as above
    return StoredBreaker(
        job_name=row.job_name,
        state=BreakerState(row.state),
        failures=row.failures,
        opened_at=row.opened_at,
        until=row.until,
        held_by=row.held_by,
        held_reason=row.held_reason,
        last_error=row.last_error,
        error_fingerprint=row.error_fingerprint,
        version=row.version,
    )
