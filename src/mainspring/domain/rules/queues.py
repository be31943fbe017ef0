"""Rules about what waits: too much of it, for too long, and what nobody can take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule, Breach, Severity
from mainspring.domain.english import in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_WAITING: Final = 10_000
LONGEST_WAIT: Final = timedelta(minutes=10)
UNCLAIMED_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much waits in a queue, and for how long the oldest of it could have started."""

    queue: str
    waiting: int
    oldest: timedelta


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Executions of a job that have waited although there is room for them.

    Attributes:
        waiting: How many.
        oldest: How long the oldest one has waited.
        free: How many more executions the nodes could run.
    """

    job_name: str
    waiting: int
    oldest: timedelta
    free: int


def deep_queues(queues: Iterable[QueueDepth]) -> list[Breach]:
    """Return an alert for each queue that holds more than 10,000 executions which could start."""
    return [
        Breach(
            AlertRule.QUEUE_DEPTH,
            subject=queue.queue,
            job_name=None,
            severity=Severity.WARNING,
            sentence=f"more than {MOST_WAITING:,} executions wait in queue {queue.queue}",
            figures={"waiting": queue.waiting, "threshold": MOST_WAITING},
        )
        for queue in queues
        if queue.waiting > MOST_WAITING
    ]


def old_queues(queues: Iterable[QueueDepth]) -> list[Breach]:
    """Return an alert for each queue in which something has waited for more than 10 minutes."""
    return [
        Breach(
            AlertRule.QUEUE_AGE,
            subject=queue.queue,
            job_name=None,
            severity=Severity.WARNING,
            sentence=f"an execution has waited for {in_words(queue.oldest)} in queue {queue.queue}, and "
            f"{in_words(LONGEST_WAIT)} is the limit",
            figures={
                "oldestSeconds": round(queue.oldest.total_seconds()),
                "waiting": queue.waiting,
                "thresholdSeconds": round(LONGEST_WAIT.total_seconds()),
            },
        )
        for queue in queues
        if queue.oldest > LONGEST_WAIT
    ]


def never_claimed(jobs: Iterable[Unclaimed]) -> list[Breach]:
    """Return an alert for each job that has waited for a minute although there was room: nobody seems to know it."""
    return [
        Breach(
            AlertRule.NEVER_CLAIMED,
            subject=job.job_name,
            job_name=job.job_name,
            severity=Severity.CRITICAL,
            sentence=_sentence_of(job),
            figures={
                "waiting": job.waiting,
                "oldestSeconds": round(job.oldest.total_seconds()),
                "free": job.free,
                "thresholdSeconds": round(UNCLAIMED_AFTER.total_seconds()),
            },
        )
        for job in jobs
        if job.oldest >= UNCLAIMED_AFTER
    ]


def _sentence_of(job: Unclaimed) -> str:
    waits = f"an execution of {job.job_name} has waited for {in_words(job.oldest)}, and nobody takes it"
    if job.waiting > 1:
        many = f"{job.waiting:,} executions of {job.job_name}"
        waits = f"{many} wait, the oldest for {in_words(job.oldest)}, and nobody takes them"
    if not job.free:
        return f"{waits}: no node with the worker role is alive"
    return f"{waits}: nodes have room for {job.free:,} more, so does any of them know this job and work on its queue?"
