"""The attempts that are under way on a node: started, watched, told to stop, handed over when they end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import STOP_SECONDS
from mainspring.jobs.job_run import JobRun
from mainspring.runtime.attempt import StopReason
from mainspring.runtime.attempt_end import ending_of
from mainspring.runtime.attempt_run import carry_out
from mainspring.runtime.loop import Turn
from mainspring.runtime.suspects import Suspects
from mainspring.store.runs import executions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from mainspring.domain.job import ExecutorKind
    from mainspring.jobs.job_run import Harness
    from mainspring.runtime.attempt import Attempt
    from mainspring.runtime.conditions import Conditions
    from mainspring.runtime.error_tracking import ErrorTracking
    from mainspring.runtime.local_executor import Executor
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Database
    from mainspring.store.queue.finishes import Finish, Release
    from mainspring.world import World

_logger = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.5
_SHORT_TIMEOUT: Final = 20 * WATCH_SECONDS


class RunningAttempts:
    """Attempts from their start to their end.

    Args:
        database: Where cancel requests are read.
        executors: How attempts are carried out, by kind.
        harness: What wraps every run.
        conditions: Whether runs that were asked for are wanted.
        environment: The node's environment.
        world: Time, chance and tasks.
        cipher: What secrets of payloads are kept in.
        on_end: Called with an attempt that is under way no more, and what is to be written of it, if anything.
        tracking: Who tells Sentry of them, if anybody does.
    """

    def __init__(
        self,
        *,
        database: Database,
        executors: Mapping[ExecutorKind, Executor],
        harness: Harness,
        conditions: Conditions,
        environment: str,
        world: World,
        cipher: PayloadCipher,
        on_end: Callable[[Attempt, Finish | Release | None], None],
        tracking: ErrorTracking | None = None,
    ) -> None:
        self._database = database
        self._executors = executors
        self._harness = harness
        self._conditions = conditions
        self._environment = environment
        self._world = world
        self._cipher = cipher
        self._on_end = on_end
        self._tracking = tracking
        self._suspects = Suspects(database, world)
        self._running: dict[UUID, Attempt] = {}

    def __len__(self) -> int:
        """Return how many are under way."""
        return len(self._running)

    def has(self, execution_id: UUID, fence: int) -> bool:
        """Whether that attempt is under way."""
        attempt = self._running.get(execution_id)
        return attempt is not None and attempt.claimed.fence == fence

    def start(self, attempts: Sequence[Attempt]) -> None:
        """Write the start lines of the whole batch, then start its handlers.

        A handler that ends its process has then left its start line, and so have those that it takes with it.
        """
        now, started_at = self._world.now(), self._world.monotonic()
        traced = self._harness.announce([attempt.identity for attempt in attempts], now)
        for attempt in attempts:
            timeout = attempt.timeout
            attempt.context.deadline = now + timeout
            attempt.traced = traced or attempt.identity.traceparent is not None
            self._running[attempt.claimed.id] = attempt
            seconds = timeout.total_seconds()
            attempt.times_out_at = started_at + seconds
            attempt.task = self._world.spawn(self._carry_out(attempt), name=attempt.claimed.job_name)
            if seconds < _SHORT_TIMEOUT:
                self._time(attempt, seconds, self.stop, StopReason.TIMEOUT)

    async def watch(self, node_id: UUID | None) -> Turn:
        """Stop what has run too long, and what somebody wants cancelled.

        Long timeouts are looked at here, twice a second, so that an ordinary job costs no timer of its own.
        """
        now = self._world.monotonic()
        late = [attempt for attempt in self._running.values() if attempt.times_out_at <= now]
        for attempt in late:
            self.stop(attempt, StopReason.TIMEOUT)
        if node_id is None or not self._running:
            return Turn(did=len(late))
        wanted = await self._database.read(
            lambda connection: executions.cancel_requests(connection, self._environment, node_id)
        )
        unwanted = [self._running[execution_id] for execution_id in wanted if execution_id in self._running]
        for attempt in unwanted:
            self.stop(attempt, StopReason.CANCEL)
        return Turn(did=len(late) + len(unwanted))

    def stop(self, attempt: Attempt, reason: StopReason) -> None:
        """Tell an attempt to stop; if it does not within ten seconds, its execution moves on without it."""
        if attempt.ended or attempt.stop_reason is not None:
            return
        attempt.stop(reason)
        if attempt.began:
            self._time(attempt, STOP_SECONDS, self._abandon)
        else:
            self._give_up(attempt, asyncio.CancelledError("stopped before it began"))

    def stop_all(self, reason: StopReason) -> None:
        """Tell every attempt to stop."""
        for attempt in list(self._running.values()):
            self.stop(attempt, reason)

    def lose_all(self) -> None:
        """Stop everything at once: another node will run it, and nothing that ends here is written any more."""
        for attempt in list(self._running.values()):
            attempt.stop_reason = None
            attempt.stop(StopReason.LEASE_LOST)
            self._hand_over(attempt, None)

    async def settled(self, seconds: float) -> None:
        """Return when all have ended, or after `seconds`."""
        tasks = [attempt.task for attempt in self._running.values() if attempt.task is not None]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)

    async def _carry_out(self, attempt: Attempt) -> None:
        attempt.began = True
        attempt.tracking = self._tracking
        work = carry_out(
            *(attempt, self._executors, self._harness, self._conditions, self._suspects),
            cipher=self._cipher,
            chance=self._world.random(),
        )
        try:
            if self._tracking is None:
                end = await work
            else:
                with self._tracking.watching(attempt):
                    end = await work
        except asyncio.CancelledError as error:  # of its task, and not by us: a handler that cancels itself
            self._give_up(attempt, error)
            raise
        except Exception as error:  # a defect of ours must not take a slot for ever
            _logger.exception("job %r, execution %s: the attempt broke", attempt.claimed.job_name, attempt.claimed.id)
            self._give_up(attempt, error)
        else:
            self._hand_over(attempt, end)

    def _abandon(self, attempt: Attempt) -> None:
        if not attempt.ended:
            _logger.error(
                "job %r, execution %s: told to stop (%s), still running after %.0f s; it goes on without this attempt",
                attempt.claimed.job_name, attempt.claimed.id, attempt.stop_reason, STOP_SECONDS,
            )  # fmt: skip
            attempt.context.log(
                f"told to stop ({attempt.stop_reason}), it ran on for {STOP_SECONDS:.0f} s, and its execution moves on "
                "without it: let its cancellation go on, see MS202 in docs/check.md",
                level="error",
            )
            self._give_up(attempt, asyncio.CancelledError("told to stop, and did not"))

    def _give_up(self, attempt: Attempt, error: BaseException) -> None:
        """Hand over an attempt whose handler says nothing, or nothing more."""
        run: JobRun[object] = JobRun(attempt.identity, announced=True)
        ran = self._world.monotonic() - attempt.times_out_at + attempt.timeout.total_seconds() if attempt.began else 0.0
        self._harness.give_up(run, error, after=ran)
        end = ending_of(attempt, run, chance=self._world.random())
        if self._tracking is not None:
            self._tracking.ended(attempt, run, end)
        self._hand_over(attempt, end)

    def _hand_over(self, attempt: Attempt, end: Finish | Release | None) -> None:
        if attempt.ended:
            return
        attempt.ended = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        del self._running[attempt.claimed.id]
        self._on_end(attempt, end)

    def _time(self, attempt: Attempt, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
        attempt.timer = asyncio.get_running_loop().call_later(seconds, call, attempt, *arguments)
