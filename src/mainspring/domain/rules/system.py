"""Rules about what jobs run on: nodes, services, history, and the watch itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule, Breach, Severity
from mainspring.domain.english import counted, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mainspring.domain.health import Unwatched

TOLD_FOR: Final = timedelta(minutes=15)
"""How long the loss of a node that does not come back stays open, and an outage of all."""
SYSTEM: Final = "mainspring"


@dataclass(frozen=True, slots=True)
class LostNode:
    """A node that stopped answering, and that no node of its name has replaced."""

    name: str
    last_heartbeat: datetime
    alive: int


@dataclass(frozen=True, slots=True)
class SilentRun:
    """An execution under way whose heartbeat has stopped, and that nobody has taken back."""

    execution_id: str
    job_name: str
    last_heartbeat: datetime


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A service that is not called for a while, because calls to it do not get through."""

    service: str
    failures: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job of which nothing is started for a while, because it keeps failing, or because somebody holds it back."""

    name: str
    failures: int
    last_error: str | None
    held_by: str | None


def lost_nodes(nodes: Iterable[LostNode]) -> list[Breach]:
    """Return an alert for each node lost; it is critical where no other one is alive."""
    return [
        Breach(
            AlertRule.NODE_LOST,
            subject=node.name,
            job_name=None,
            severity=Severity.WARNING if node.alive else Severity.CRITICAL,
            sentence=f"node {node.name} stopped answering: its last heartbeat was at "
            f"{node.last_heartbeat:%Y-%m-%d %H:%M:%S} UTC; {counted(node.alive, 'node')} of this environment "
            + ("is alive" if node.alive == 1 else "are alive"),
            figures={"lastHeartbeat": node.last_heartbeat, "alive": node.alive},
        )
        for node in nodes
    ]


def silent_runs(runs: Iterable[SilentRun], now: datetime) -> list[Breach]:
    """Return an alert for each execution that stopped beating and was not taken back."""
    return [
        Breach(
            AlertRule.STALENESS,
            subject=f"{run.job_name}/{run.execution_id}",
            job_name=run.job_name,
            severity=Severity.CRITICAL,
            sentence=f"execution {run.execution_id} of {run.job_name} has not been heard of for "
            f"{in_words(now - run.last_heartbeat)}, and nobody has taken it back",
            figures={"executionId": run.execution_id, "lastHeartbeat": run.last_heartbeat},
        )
        for run in runs
    ]


def open_breakers(breakers: Iterable[OpenBreaker]) -> list[Breach]:
    """Return an alert for each service that is not called."""
    return [
        Breach(
            AlertRule.BREAKER_OPEN,
            subject=breaker.service,
            job_name=None,
            severity=Severity.WARNING,
            sentence=f"service {breaker.service} is not called: {counted(breaker.failures, 'call')} in a row did not "
            f"get through{_of_the_last(breaker.last_error)}",
            figures={"failures": breaker.failures, "lastError": breaker.last_error},
        )
        for breaker in breakers
    ]


def held_jobs(jobs: Iterable[HeldJob]) -> list[Breach]:
    """Return an alert for each job that its breaker holds back."""
    return [
        Breach(
            AlertRule.BREAKER_OPEN,
            subject=f"{job.name}/breaker",  # a service may have the name of a job
            job_name=job.name,
            severity=Severity.WARNING,
            sentence=_why_held(job),
            figures={"failures": job.failures, "lastError": job.last_error, "heldBy": job.held_by},
        )
        for job in jobs
    ]


def _why_held(job: HeldJob) -> str:
    if job.held_by is not None:
        return f"job {job.name} is not started: {job.held_by} holds its breaker open"
    failed = f"it failed {counted(job.failures, 'time')} in a row{_of_the_last(job.last_error)}"
    return f"job {job.name} is not started: {failed}"


def _of_the_last(error: str | None) -> str:
    return f"; the last error: {error}" if error else ""


def missing_weeks(weeks: Iterable[datetime]) -> list[Breach]:
    """Return an alert if a week of history is missing into which runs will end."""
    missing = sorted(weeks)
    if not missing:
        return []
    return [
        Breach(
            AlertRule.PARTITION_MISSING,
            subject="executions",
            job_name=None,
            severity=Severity.CRITICAL,
            sentence=f"the history has no partition for the week of {missing[0]:%Y-%m-%d}: runs that end in it cannot "
            "be kept; `mainspring db upgrade` makes the weeks ahead",
            figures={"weeks": missing},
        )
    ]


def outage(unwatched: Unwatched | None, now: datetime) -> list[Breach]:
    """Return the one notice of a span in which nobody watched, for a quarter of an hour after it."""
    if unwatched is None or not unwatched.is_outage or now - unwatched.end > TOLD_FOR:
        return []
    return [
        Breach(
            AlertRule.UNWATCHED,
            subject=SYSTEM,
            job_name=None,
            severity=Severity.WARNING,
            sentence=f"nobody watched for {in_words(unwatched.end - unwatched.start)}, from "
            f"{unwatched.start:%Y-%m-%d %H:%M:%S} to {unwatched.end:%H:%M:%S} UTC: no node was alive, or the clock "
            "jumped; what was due then says nothing about the jobs",
            figures={"from": unwatched.start, "until": unwatched.end},
        )
    ]
