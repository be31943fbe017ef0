"""The breaker of each service, shared by all nodes: its row in `services` (see `domain.breaker`)."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from mainspring.domain.breaker import PROBE_SECONDS, Breaker, BreakerState
from mainspring.domain.write_door import clean_text
from mainspring.store.engine.dialect import store_now, store_now_plus
from mainspring.store.tables import services

_MAX_ERROR: Final = 2_000
_KEY: Final = (services.c.environment == sa.bindparam("b_environment"), services.c.name == sa.bindparam("b_name"))
_LOCK = sa.select(services.c.breaker_state, services.c.consecutive_failures).where(*_KEY).with_for_update()
_FAIL = (
    sa.update(services)
    .where(*_KEY)
    .values(
        breaker_state=sa.bindparam("b_state"),
        breaker_until=sa.case(
            (sa.bindparam("b_opens", type_=sa.Boolean()), store_now_plus(sa.bindparam("b_wait", type_=sa.Double()))),
            else_=services.c.breaker_until,
        ),
        consecutive_failures=sa.bindparam("b_failures"),
        last_error=sa.bindparam("b_error"),
        updated_at=store_now(),
    )
)
_CLOSE = (
    sa.update(services)
    .where(*_KEY, sa.or_(services.c.consecutive_failures > 0, services.c.breaker_state != BreakerState.CLOSED.value))
    .values(breaker_state=BreakerState.CLOSED.value, breaker_until=None, consecutive_failures=0, updated_at=store_now())
)
# One statement: of all nodes that find the time come, the row lets one through.
_ADMIT_PROBE = (
    sa.update(services)
    .where(*_KEY, services.c.breaker_state != BreakerState.CLOSED.value, services.c.breaker_until <= store_now())
    .values(
        breaker_state=BreakerState.HALF_OPEN.value,
        breaker_until=store_now_plus(sa.bindparam("b_wait", type_=sa.Double())),
        updated_at=store_now(),
    )
)
_KEEP_PROBE = (
    sa.update(services)
    .where(*_KEY, services.c.breaker_state == BreakerState.HALF_OPEN.value)
    .values(breaker_state=BreakerState.OPEN.value, breaker_until=store_now())
)


def fail(connection: sa.Connection, environment: str, service: str, error: str, *, chance: float) -> float:
    """Count a call that did not get through, and keep why.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        service: Which service.
        error: What happened.
        chance: A random number in [0, 1), for the jitter.

    Returns:
        Seconds before the next call may be tried.
    """
    row = connection.execute(_LOCK, _named(environment, service)).first()
    before = Breaker() if row is None else Breaker(BreakerState(row.breaker_state), row.consecutive_failures)
    after = before.after_failure()
    wait = after.wait(chance)
    opens = after.state is BreakerState.OPEN and before.state is not BreakerState.OPEN
    said: dict[str, Any] = {
        "b_state": after.state.value,
        "b_opens": opens,
        "b_wait": wait,
        "b_failures": after.failures,
        "b_error": clean_text(error, _MAX_ERROR),
    }
    connection.execute(_FAIL, _named(environment, service) | said)
    return wait


def succeed(connection: sa.Connection, environment: str, service: str) -> bool:
    """Close a breaker: a call got through. Return whether that changed anything."""
    return connection.execute(_CLOSE, _named(environment, service)).rowcount > 0


def admit_probe(connection: sa.Connection, environment: str, service: str, seconds: float = PROBE_SECONDS) -> bool:
    """Let one call through although the breaker is not closed, if its time has come; of all nodes, one hears True.

    Args:
        connection: Where to run, in a transaction.
        environment: The environment.
        service: Which service.
        seconds: How long the call may stay without an answer before another one is let through.
    """
    return connection.execute(_ADMIT_PROBE, _named(environment, service) | {"b_wait": seconds}).rowcount > 0


def keep_probe(connection: sa.Connection, environment: str, service: str) -> None:
    """Give back a probe for which there was nothing to run."""
    connection.execute(_KEEP_PROBE, _named(environment, service))


def _named(environment: str, service: str) -> dict[str, Any]:
    return {"b_environment": environment, "b_name": service}
