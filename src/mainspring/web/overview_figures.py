"""The six figures on top of the overview: each with its course, what came before, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.look_back import percentile
from mainspring.store.analytics import outcomes, rolled_outcomes
from mainspring.store.analytics.outcomes import OutcomeCounts
from mainspring.store.coordination import nodes
from mainspring.store.queue import queues
from mainspring.store.scheduling import planned_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.domain.access import Scope
    from mainspring.domain.look_back import LookBack
    from mainspring.store.coordination.nodes import StoredNode
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.queues import StoredQueue

P95: Final = 0.95


@dataclass(frozen=True, slots=True)
class Reading:
    """What the figures are made of.

    Attributes:
        counts: How runs ended, over the span and the one before it, in even buckets.
        durations: What they took, in milliseconds, in the same buckets.
        queues: What waits and runs.
        nodes: Who works.
        next_run: The job whose schedule fires next, and when.
    """

    counts: Sequence[OutcomeCounts]
    durations: Sequence[Sequence[int]]
    queues: Sequence[StoredQueue]
    nodes: Sequence[StoredNode]
    next_run: tuple[str, datetime] | None


@dataclass(frozen=True, slots=True)
class Course:
    """A figure over time.

    Attributes:
        present: Over the whole span; None: nothing is known.
        before: Over the span before it.
        values: In each bucket of the span.
    """

    present: float | None
    before: float | None
    values: Sequence[float | None]

    @property
    def change(self) -> float | None:
        """How much more it is than before; None: one of the two is not known."""
        return None if self.present is None or self.before is None else self.present - self.before


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of the overview.

    Attributes:
        success_rate: 0 to 1.
        failed: How many runs failed.
        p95: Milliseconds that 95 of 100 runs did not exceed.
        ended: How many runs ended, in each bucket.
        running: How many run now.
        slots: How many could, on nodes that claim.
        draining: How many nodes do not claim.
        waiting: How many could start now if there were room.
        oldest_seconds: For how long the first of these could have.
        next_run: The job whose schedule fires next, and when.
    """

    success_rate: Course
    failed: Course
    p95: Course
    ended: Sequence[int]
    running: int
    slots: int
    draining: int
    waiting: int
    oldest_seconds: float | None
    next_run: tuple[str, datetime] | None


def read(connection: Connection, scope: Scope, looked: LookBack) -> Figures:
    """Return the figures of what a scope sees, of a span and the one before it."""
    span, buckets = 2 * looked.span, 2 * looked.buckets
    return figures_of(
        Reading(
            counts=rolled_outcomes.over_time(connection, scope, span, buckets),
            durations=outcomes.durations(connection, scope, span, buckets),
            queues=queues.find(connection, scope.environment),
            nodes=nodes.at_work(connection, scope.environment),
            next_run=planned_jobs.next_run(connection, scope.environment),
        )
    )


def figures_of(reading: Reading) -> Figures:
    """Return the figures that were read."""
    half = len(reading.counts) // 2
    before, present = reading.counts[:half], reading.counts[half:]
    alive = [node for node in reading.nodes if node.lost_at is None and "worker" in node.roles]
    waits = [queue.oldest_seconds for queue in reading.queues if queue.oldest_seconds is not None]
    return Figures(
        success_rate=Course(
            _sum(present).success_rate, _sum(before).success_rate, [count.success_rate for count in present]
        ),
        failed=Course(_sum(present).failed, _sum(before).failed, [count.failed for count in present]),
        p95=Course(
            _p95(reading.durations[half:]),
            _p95(reading.durations[:half]),
            [percentile(sorted(bucket), P95) for bucket in reading.durations[half:]],
        ),
        ended=[count.total for count in present],
        running=sum(queue.running for queue in reading.queues),
        slots=sum(node.slots for node in alive if node.draining is None),
        draining=sum(node.draining is not None for node in alive),
        waiting=sum(queue.waiting for queue in reading.queues),
        oldest_seconds=max(waits, default=None),
        next_run=reading.next_run,
    )


def _sum(counts: Sequence[OutcomeCounts]) -> OutcomeCounts:
    total = OutcomeCounts()
    for count in counts:
        total.add(count)
    return total


def _p95(buckets: Sequence[Sequence[int]]) -> int | None:
    return percentile(sorted(duration for bucket in buckets for duration in bucket), P95)
