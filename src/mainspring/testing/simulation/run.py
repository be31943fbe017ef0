"""One simulation from its seed to the verdict."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from mainspring.domain.access import Scope
from mainspring.errors import StoreError
from mainspring.store.runs import executions
from mainspring.testing.inline import finish_at_once
from mainspring.testing.simulation.cluster import ENVIRONMENT, Cluster, Plan
from mainspring.testing.simulation.invariants import broken_by_changes, broken_by_end, broken_by_overlap
from mainspring.testing.simulation.virtual_time import run_in_virtual_time
from mainspring.testing.simulation.witness import Trace

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.store.engine.database import Connection


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one simulation.

    Attributes:
        seed: What it followed from.
        problems: What must never happen and did; empty where all is well.
        digest: Of everything that happened, in order: the same seed gives the same one.
        events: How many events the digest is of.
        accepted: How many executions clients were told of.
        claims: How many attempts there were.
        crashes: How many processes died.
        stops: How many stopped in good order.
        seconds: How much virtual time it took.
        trace: The events themselves, if they were kept.
    """

    seed: int
    problems: list[str]
    digest: str
    events: int
    accepted: int
    claims: int
    crashes: int
    stops: int
    seconds: float
    trace: list[str] = field(repr=False)


def simulate(seed: int, plan: Plan | None = None, *, keep_trace: bool = False) -> Report:
    """Run one cluster from a seed, and judge it.

    Args:
        seed: What everything follows from.
        plan: How large it is.
        keep_trace: Whether the report holds every event, to find where two runs part.
    """
    trace = Trace(keep=keep_trace)
    with _log_to(trace) as mistakes:
        report = run_in_virtual_time(_simulate(seed, plan or Plan(), trace))
    report.problems.extend(mistakes)
    return report


async def _simulate(seed: int, plan: Plan, trace: Trace) -> Report:
    cluster = Cluster(seed, plan, trace)
    await cluster.run()
    changes = list(cluster.witness.changes())
    problems = list(cluster.witness.troubles)
    problems += broken_by_changes(changes, organization_limit=plan.organization_limit)
    problems += _broken_ends(cluster, sorted({change.execution_id for change in changes}))
    if not cluster.store_clock_jumped:
        problems += broken_by_overlap(cluster.witness.shifts)
    return Report(
        seed=seed,
        problems=problems,
        digest=trace.digest,
        events=trace.length,
        accepted=len(cluster.accepted),
        claims=sum(change.is_claim for change in changes),
        crashes=cluster.crashes,
        stops=cluster.stops,
        seconds=cluster.seconds,
        trace=trace.lines,
    )


def _broken_ends(cluster: Cluster, execution_ids: list[str]) -> Iterator[str]:
    shifts = cluster.witness.shifts
    for execution_id in execution_ids:
        execution, attempts = _record(cluster, UUID(execution_id))
        own = [shift for shift in shifts if str(shift.execution_id) == execution_id]
        for problem in broken_by_end(execution, attempts, own, cluster.stopped_nodes):
            yield f"execution {execution_id}: {problem}"
    seen = set(execution_ids)
    yield from (f"execution {lost} was accepted and never seen" for lost in cluster.accepted if str(lost) not in seen)


def _record(cluster: Cluster, execution_id: UUID) -> tuple[Execution | None, list[Attempt]]:
    def read(connection: Connection) -> tuple[Execution | None, list[Attempt]]:
        execution = executions.get(connection, Scope(ENVIRONMENT), execution_id)
        return execution, [] if execution is None else executions.earlier_attempts(connection, execution)

    return finish_at_once(cluster.store.read(read))


class _TraceHandler(logging.Handler):
    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.INFO)
        self._trace = trace
        self.mistakes: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._trace.add(record.getMessage())
        for error in record.args if isinstance(record.args, tuple) else ():
            # A link that fails is what a storm is made of; anything else is a mistake that a loop has survived.
            if isinstance(error, Exception) and not isinstance(error, (StoreError, TimeoutError)):
                self.mistakes.append(f"{record.getMessage()}: {error!r}")


@contextmanager
def _log_to(trace: Trace) -> Generator[list[str]]:
    """Add what nodes log to the trace and keep it from elsewhere, for they have much to tell; yield their mistakes."""
    logger, handler = logging.getLogger("mainspring"), _TraceHandler(trace)
    propagated, level = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield handler.mistakes
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
        logger.setLevel(level)
