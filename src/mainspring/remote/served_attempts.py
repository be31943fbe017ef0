"""The attempts that a service is at, and those that it has ended lately: none starts twice."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.webhook_signature import TOLERANCE
from mainspring.errors import LeaseLostError, MainspringError
from mainspring.remote.reporting import Reporting
from mainspring.remote.served_attempt import ServedAttempt, StopReason
from mainspring.world import ends_within

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.egress.client import Egress
    from mainspring.jobs.job_run import Harness
    from mainspring.jobs.registry import JobRegistry
    from mainspring.remote.protocol import CallbackRequest
    from mainspring.world import World

_logger = logging.getLogger(__name__)

REMEMBER_SECONDS: Final = 2 * TOLERANCE.total_seconds()
"""How long an attempt that has ended is remembered: longer than the signature of any call that could start it holds."""
MAX_RESULT_BYTES: Final = 16_000_000
"""How much of their results is kept, the newest ones."""
_STOP_AT_THE_END_SECONDS: Final = 3.0
"""How long work that is told to stop may take, and its scheduler to hear of it."""


class ShuttingDownError(MainspringError):
    """The service starts nothing any more."""

    code = "SHUTTING_DOWN"


@dataclass(slots=True)
class EndedAttempt:
    """What is remembered of an attempt that has ended.

    Attributes:
        fence: Its fence.
        result: The body that tells how it ended; None where there is nothing to tell, or no more.
    """

    fence: int
    result: bytes | None


class ServedAttempts:
    """Every attempt of one service in one process.

    A call that comes again, because the scheduler repeats it or somebody has recorded it, meets the attempt that it has
    started before, for as long as its signature holds.

    Args:
        registry: The service's jobs.
        service: Its name.
        egress: Sends what is reported.
        harness: Times, logs and traces attempts.
        world: Time, chance, threads and tasks.
    """

    def __init__(self, registry: JobRegistry, *, service: str, egress: Egress, harness: Harness, world: World) -> None:
        self._registry = registry
        self._service = service
        self._egress = egress
        self._harness = harness
        self._world = world
        self._at_work: dict[UUID, ServedAttempt] = {}
        self._ended: dict[UUID, EndedAttempt] = {}
        self._forgotten_at: deque[tuple[float, UUID, EndedAttempt]] = deque()
        self._with_result: deque[EndedAttempt] = deque()
        self._result_bytes = 0
        self._reports: dict[ServedAttempt, asyncio.Task[None]] = {}
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether nothing is started any more."""
        return self._draining

    def __len__(self) -> int:
        """Return how many are at work."""
        return len(self._at_work)

    def find(self, request: CallbackRequest) -> ServedAttempt | EndedAttempt | None:
        """Return the attempt that the same call has started before.

        Raises:
            LeaseLostError: A later attempt at the same execution has been here.
        """
        self._forget()
        known = self._at_work.get(request.execution_id) or self._ended.get(request.execution_id)
        if known is None or known.fence < request.fence:
            return None
        if known.fence > request.fence:
            raise LeaseLostError(
                f"job {request.job_name!r}, execution {request.execution_id}: fence {request.fence} is too late here, "
                f"where fence {known.fence} has been"
            )
        return known

    def start(self, request: CallbackRequest, *, traceparent: str | None, seconds: float) -> ServedAttempt:
        """Start an attempt that was not found; an earlier one at the same execution is stopped.

        Args:
            request: The call.
            traceparent: The trace context that came with it.
            seconds: How long it may take.

        Raises:
            JobNotFoundError: This service has no such job.
            ShuttingDownError: It starts nothing any more.
        """
        job = self._registry.get(request.job_name)
        if self._draining:
            raise ShuttingDownError(f"the service {self._service!r} is shutting down: call it again in a moment")
        attempt = ServedAttempt(
            request, job, service=self._service, traceparent=traceparent, harness=self._harness, world=self._world
        )
        if earlier := self._at_work.get(request.execution_id):
            earlier.stop(StopReason.LEASE_LOST)
        self._at_work[request.execution_id] = attempt
        attempt.ended.add_done_callback(lambda _: self._remember(attempt))
        attempt.start(seconds)
        return attempt

    def report(self, attempt: ServedAttempt) -> None:
        """Tell the scheduler by callbacks from now on; called again, it changes nothing."""
        if attempt in self._reports:
            return
        reporting = Reporting(attempt, self._egress, self._world)
        task = self._world.spawn(reporting.run(), name=f"report of {reporting}")
        self._reports[attempt] = task
        task.add_done_callback(lambda _: self._reported(attempt, task))

    def open(self) -> None:
        """Start again what is asked for, after a `drain`."""
        self._draining = False

    async def drain(self, seconds: float) -> None:
        """Start nothing more, let what is at work end and be told within `seconds`, and stop the rest."""
        self._draining = True
        await self._settled(seconds)
        for attempt in list(self._at_work.values()):
            _logger.warning(
                "job %r, execution %s: this service shuts down, and it stops; the scheduler starts it again",
                attempt.request.job_name, attempt.request.execution_id,
            )  # fmt: skip
            attempt.stop(StopReason.SHUTDOWN)
        await self._settled(_STOP_AT_THE_END_SECONDS)
        for report in list(self._reports.values()):
            report.cancel()

    async def _settled(self, seconds: float) -> None:
        """Wait until everything has ended and been told, at most that long."""
        until = self._world.monotonic() + seconds
        while (under_way := self._under_way()) and (left := until - self._world.monotonic()) > 0:
            await ends_within(self._world, asyncio.gather(*under_way, return_exceptions=True), left)

    def _under_way(self) -> list[asyncio.Future[Any]]:
        return [*(attempt.ended for attempt in self._at_work.values()), *self._reports.values()]

    def _reported(self, attempt: ServedAttempt, report: asyncio.Task[None]) -> None:
        self._reports.pop(attempt, None)
        if not report.cancelled() and (error := report.exception()) is not None:  # a defect of ours
            _logger.error("job %r: its report broke", attempt.request.job_name, exc_info=error)
            attempt.stop(StopReason.LEASE_LOST)

    def _remember(self, attempt: ServedAttempt) -> None:
        execution_id = attempt.request.execution_id
        if self._at_work.get(execution_id) is not attempt:
            return  # a later one is here already
        del self._at_work[execution_id]
        result = attempt.ended.result()
        ended = self._ended[execution_id] = EndedAttempt(attempt.fence, result.to_bytes() if result else None)
        self._forgotten_at.append((self._world.monotonic() + REMEMBER_SECONDS, execution_id, ended))
        self._with_result.append(ended)
        self._result_bytes += len(ended.result or b"")
        while self._result_bytes > MAX_RESULT_BYTES:
            self._drop_oldest_result()

    def _drop_oldest_result(self) -> None:
        oldest = self._with_result.popleft()
        self._result_bytes -= len(oldest.result or b"")
        oldest.result = None

    def _forget(self) -> None:
        now = self._world.monotonic()
        while self._forgotten_at and self._forgotten_at[0][0] <= now:
            _, execution_id, ended = self._forgotten_at.popleft()
            if self._with_result and self._with_result[0] is ended:
                self._drop_oldest_result()
            if self._ended.get(execution_id) is ended:
                del self._ended[execution_id]
