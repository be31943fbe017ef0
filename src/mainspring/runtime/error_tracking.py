"""The consumer of every run of a node: it unwraps what has failed for good, so that Sentry hears of it once.

`Job` keeps a failure from ending the node; it must not keep it from those who watch (job harness document, §3). A try
that is to be repeated is no failure yet, and neither is one whose end the store refused because another node has the
execution by then: an event waits until its end is written.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.failure import ErrorClass, Failure, failure_of, fingerprint
from mainspring.errors import JobCrashedError, StoreError
from mainspring.jobs.harness import JobFailed
from mainspring.observability.run_identity import RunIdentity
from mainspring.observability.sentry_monitors import monitor_config
from mainspring.runtime.breadcrumbs import Breadcrumbs, steps_of
from mainspring.runtime.child_protocol import RemoteFailureError
from mainspring.store.queue.finishes import Finish
from mainspring.store.scheduling import schedules

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from uuid import UUID

    from sentry_sdk.scope import Scope

    from mainspring.domain.job import JobDefinition, Schedule
    from mainspring.jobs.job_run import JobRun
    from mainspring.observability.sentry import Sentry
    from mainspring.runtime.attempt import Attempt
    from mainspring.store.engine.database import Database
    from mainspring.store.queue.finishes import Release

_logger = logging.getLogger(__name__)
_OF_A_SCHEDULE: Final = frozenset({Trigger.CRON, Trigger.INTERVAL})
_LOOK_SECONDS: Final = 1.0
"""How long a run waits to learn its schedule; after that, what code says of it will do."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """What Sentry is told once an end is written."""

    attempt: Attempt
    scope: Scope | None
    event: dict[str, Any] | None
    check_in: str | None
    seconds: float


class ErrorTracking:
    """Tells Sentry of the failures of a node, and how the runs of its schedules stand.

    Args:
        sentry: The way to Sentry.
        database: Where the schedules in force are.
        environment: Whose schedules.
    """

    def __init__(self, sentry: Sentry, database: Database, environment: str) -> None:
        self._sentry = sentry
        self._database = database
        self._environment = environment
        self._scopes: dict[Attempt, Scope] = {}
        self._monitored: set[Attempt] = set()
        self._unwritten: dict[tuple[UUID, int], _Ended] = {}

    @contextmanager
    def watching(self, attempt: Attempt) -> Generator[None]:
        """Let whatever is told to Sentry in the block carry the facts of an attempt, and what its handler has said."""
        organization = attempt.claimed.organization_id
        with self._sentry.attempt(attempt.identity, _facts(attempt), organization=organization) as scope:
            self._scopes[attempt] = scope
            attempt.context.sink = Breadcrumbs(attempt.context.sink, self._sentry, scope)
            try:
                yield
            finally:
                del self._scopes[attempt]
                self._monitored.discard(attempt)

    async def started(self, attempt: Attempt) -> None:
        """Check in that the run of a schedule has begun, or begun anew."""
        if attempt.claimed.trigger not in _OF_A_SCHEDULE:
            return
        definition = attempt.job.definition
        config = monitor_config(await self._schedule_of(definition), definition)
        if config is not None:
            self._monitored.add(attempt)
            self._sentry.check_in(definition.name, str(attempt.claimed.id), "in_progress", config=config)

    def ended(self, attempt: Attempt, run: JobRun[object], end: Finish | Release) -> None:
        """Unwrap a run that has ended, and keep what is raised until its end is written; a retry is not told."""
        if attempt.ended or not isinstance(end, Finish):
            return
        event, scope = None, self._scopes.get(attempt)
        if end.status is Status.FAILED:
            try:
                run.unwrap()
            except JobFailed as failed:
                event = self._event(run, failed, end)
        check_in = ("error" if event else "ok") if attempt in self._monitored else None
        if scope is not None:
            scope.set_context("progress", _progress(attempt))
        if event or check_in:
            self._unwritten[end.id, end.fence] = _Ended(attempt, scope, event, check_in, run.seconds)

    def written(self, ends: Iterable[Finish | Release]) -> None:
        """Tell of the ends that are written."""
        for end in ends:
            ended = self._unwritten.pop((end.id, end.fence), None)
            if ended is not None and ended.event is not None:
                self._sentry.send(ended.event, ended.scope)
            if ended is not None and ended.check_in is not None:
                name = ended.attempt.claimed.job_name
                self._sentry.check_in(name, str(end.id), ended.check_in, seconds=ended.seconds)

    def refused(self, ends: Iterable[Finish | Release]) -> None:
        """Forget ends that the store refused: whoever has the executions now tells of them."""
        for end in ends:
            self._unwritten.pop((end.id, end.fence), None)

    def forget(self) -> None:
        """Forget everything that is not written: this node has lost its lease."""
        self._unwritten.clear()

    def lost(self, job_name: str, execution_id: UUID, node_name: str | None) -> None:
        """Tell of an execution that has failed because its node was lost: nobody is left who ran it."""
        message = f"execution {execution_id} was lost with node {node_name}, and is not started again"
        kind = JobCrashedError.__name__
        failure = Failure(ErrorClass.CRASH, kind, "POISON", message, "", fingerprint(kind, "lost with its node", ""))
        run = RunIdentity(job_name, str(execution_id), node=node_name)
        self._sentry.send(self._sentry.prepare(run, failure, None))

    async def _schedule_of(self, definition: JobDefinition) -> Schedule | None:
        """Return the schedule in force: an admin may have changed it since code declared it."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                stored = await self._database.read(
                    lambda connection: schedules.get(connection, self._environment, definition.name)
                )
        except (StoreError, TimeoutError):
            stored = None
        return definition.schedule if stored is None else stored.schedule

    def _event(self, run: JobRun[object], failed: JobFailed, end: Finish) -> dict[str, Any] | None:
        error, failure = failed.__cause__, _stored(end)
        while isinstance(error, JobFailed) and error.__cause__ is not None:  # a handler that unwrapped another job
            error = error.__cause__
            failure = failure_of(error)
        # A child process has described what it raised, and a timeout is told as one whatever the handler made of it.
        raised_here = error is not None and type(error).__name__ == failure.type
        told = error.event if isinstance(error, RemoteFailureError) and error.failure.type == failure.type else None
        try:
            return self._sentry.prepare(
                run.identity, failure, error if raised_here else None, run.traceparent, told=told
            )
        except Exception:
            _logger.warning("the failure of job %r could not be made an event for Sentry", run.name, exc_info=True)
            return None


def _stored(end: Finish) -> Failure:
    said: dict[str, Any] = orjson.loads(end.error or "{}")
    kind, code, message, trace, mark = (
        str(said.get(name, "")) for name in ("type", "code", "message", "trace", "fingerprint")
    )
    return Failure(ErrorClass(said.get("class", "unknown")), kind, code, message, trace, mark)


def _facts(attempt: Attempt) -> dict[str, Any]:
    claimed = attempt.claimed
    return {
        "queue": claimed.queue,
        "max_attempts": claimed.max_retries + 1,
        "retries": claimed.retry_count,
        "scheduled_for": claimed.scheduled_for.isoformat() if claimed.scheduled_for else None,
        "timeout": attempt.timeout.total_seconds(),
    }


def _progress(attempt: Attempt) -> dict[str, Any]:
    reported = attempt.context.reported
    return steps_of(attempt.context) | {
        "message": reported.message,
        "processed": reported.items_processed,
        "failed": reported.items_failed,
    }
