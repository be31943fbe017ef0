"""What ends of attempts make of the breakers of their jobs, in the transaction that writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.breaker import BreakerState
from mainspring.domain.execution import Outcome
from mainspring.domain.failure import ErrorClass
from mainspring.domain.job_breaker import JobBreaker
from mainspring.domain.write_door import clean_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.queue.finishes import Finish
from mainspring.store.recovery import job_breakers
from mainspring.store.tables import breakers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.queue.finishes import Release

_MAX_ERROR: Final = 2_000
_SPREAD: Final = 2**16
_FAILED: Final = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})
_SAYS_NOTHING: Final = frozenset({ErrorClass.PERMANENT, ErrorClass.CANCELLED, ErrorClass.CRASH, ErrorClass.DEPENDENCY})
_c = breakers.c

_KEEP = (
    sa.update(breakers)
    .where(*job_breakers.THE_BREAKER)
    .values(
        state=sa.bindparam("b_state", type_=sa.Text()),
        failures=sa.bindparam("b_failures", type_=sa.Integer()),
        opened_at=sa.case(
            (sa.and_(_c.state == BreakerState.CLOSED.value, sa.bindparam("b_opens", type_=sa.Boolean())), store_now()),
            else_=_c.opened_at,
        ),
        until=sa.case(
            (sa.bindparam("b_opens", type_=sa.Boolean()), store_now_plus(sa.bindparam("b_wait", type_=sa.Double()))),
            else_=_c.until,
        ),
        probe_id=sa.case((sa.bindparam("b_is_probe", type_=sa.Boolean()), sa.null()), else_=_c.probe_id),
        last_error=sa.func.coalesce(sa.bindparam("b_error", type_=sa.Text()), _c.last_error),
        error_fingerprint=sa.func.coalesce(sa.bindparam("b_fingerprint", type_=sa.Text()), _c.error_fingerprint),
        window_from=sa.bindparam("b_from", type_=_c.window_from.type),
        window_ended=sa.bindparam("b_ended", type_=sa.Integer()),
        window_failed=sa.bindparam("b_failed", type_=sa.Integer()),
        updated_at=store_now(),
        version=_c.version + 1,
    )
)


def hear(connection: sa.Connection, environment: str, ends: Sequence[Finish | Release]) -> list[str]:
    """Let the breakers of jobs hear how attempts ended, before those ends are written.

    Args:
        connection: Where to run, in the transaction that writes the ends.
        environment: The environment.
        ends: In the order in which they came; those of jobs without a breaker are passed over.

    Returns:
        The jobs whose breaker has closed: for `admit`, once the ends are written.
    """
    news = [end for end in ends if end.breaker is not None and _says(end) is not None]
    if not news:
        return []
    names = sorted({str(end.job_name) for end in news})
    rows = job_breakers.locked(connection, environment, names)
    missing = sorted({str(end.job_name) for end in news if _has_to_be_kept(end)} - rows.keys())
    if missing:
        job_breakers.make(connection, environment, missing)
        rows = job_breakers.locked(connection, environment, names)
    closed: list[str] = []
    for name, row in rows.items():
        if _hear_of(connection, environment, row, [end for end in news if end.job_name == name]):
            closed.append(name)
    return closed


def _hear_of(connection: sa.Connection, environment: str, row: Any, ends: Sequence[Finish | Release]) -> bool:  # noqa: ANN401
    """Write what the ends make of one breaker, and return whether it has closed."""
    before = after = _breaker(row)
    last_failure: Finish | Release | None = None
    is_probe = False
    for end in ends:
        assert end.breaker is not None  # noqa: S101 - the caller has chosen them so
        failed = bool(_says(end))
        was_open = after.state is not BreakerState.CLOSED
        ended_probe = was_open and end.id == row.probe_id
        after = after.after(end.breaker, row.now, failed=failed, is_probe=ended_probe)
        is_probe = is_probe or ended_probe
        last_failure = end if failed else last_failure
    if after == before and not is_probe:
        return False
    opens = after.state is BreakerState.OPEN and before.state is not BreakerState.OPEN
    policy = ends[-1].breaker
    assert policy is not None  # noqa: S101 - as above
    wait = after.wait(policy, ends[-1].id.int % _SPREAD / _SPREAD)  # the last bits of an id are chance
    connection.execute(
        _KEEP,
        {
            "b_environment": environment,
            "b_job": row.job_name,
            "b_state": after.state.value,
            "b_failures": after.failures,
            "b_opens": opens,
            "b_wait": wait,
            "b_is_probe": is_probe,
            "b_error": clean_text(last_failure.error_message, _MAX_ERROR)
            if last_failure is not None and last_failure.error_message
            else None,
            "b_fingerprint": last_failure.error_fingerprint if last_failure is not None else None,
            "b_from": after.window_from,
            "b_ended": after.window_ended,
            "b_failed": after.window_failed,
        },
    )
    if opens:
        job_breakers.park(connection, environment, row.job_name)
    return after.state is BreakerState.CLOSED and before.state is not BreakerState.CLOSED


def _says(end: Finish | Release) -> bool | None:
    """Return whether an attempt failed of what may pass; None: it says nothing about what the job needs."""
    if end.outcome is Outcome.SUCCEEDED:
        return False
    if end.outcome not in _FAILED:
        return None
    is_other = isinstance(end, Finish) and end.error_class in _SAYS_NOTHING
    return None if is_other else True


def _has_to_be_kept(end: Finish | Release) -> bool:
    return bool(_says(end)) or (end.breaker is not None and end.breaker.failure_rate is not None)


def _breaker(row: Any) -> JobBreaker:  # noqa: ANN401 - a row of either driver
    return JobBreaker(BreakerState(row.state), row.failures, row.window_from, row.window_ended, row.window_failed)
