"""Claims executions while slots are free, and carries them out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mainspring.domain.failure import failure_of
from mainspring.domain.job import ExecutorKind
from mainspring.errors import StoreError
from mainspring.jobs.job_run import JobRun
from mainspring.runtime.attempt import Attempt, StopReason, carry_out, ending_of, prepare
from mainspring.runtime.loop import Turn
from mainspring.store import claims, executions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    import sqlalchemy as sa

    from mainspring.jobs.job_run import Harness
    from mainspring.jobs.registry import JobRegistry
    from mainspring.runtime.acknowledgements import Acknowledgements
    from mainspring.runtime.journal import Journal
    from mainspring.runtime.local_executor import Executor
    from mainspring.store.claims import ClaimedExecution
    from mainspring.store.database import Database, Lane
    from mainspring.store.finishes import Finish, Release
    from mainspring.store.signals import Wakeup
    from mainspring.world import World

_logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 10.0
"""How long work that was told to stop may take, before its execution moves on without it (contract §7)."""
_PROMOTE_EVERY: Final = 0.1


class Worker:
    """The part of a node that runs jobs.

    Args:
        database: Where cancel requests are read.
        lane: The connection that claims.
        registry: The jobs that this node knows; others are left alone.
        executors: How attempts are carried out, by kind.
        capacity: How many attempts of a kind may run at once.
        queues: Whose executions are claimed.
        acknowledgements: Where ends go.
        journal: Where handlers' words go.
        harness: What wraps every run.
        wakeup: Woken when there may be work or room.
        environment: The node's environment.
        node_name: What handlers and log lines call this node.
        organization_limit: Running executions per organization where none is set for it.
        world: Time, chance and tasks.
    """

    def __init__(
        self,
        *,
        database: Database,
        lane: Lane,
        registry: JobRegistry,
        executors: Mapping[ExecutorKind, Executor],
        capacity: Mapping[ExecutorKind, int],
        queues: Sequence[str],
        acknowledgements: Acknowledgements,
        journal: Journal,
        harness: Harness,
        wakeup: Wakeup,
        environment: str,
        node_name: str,
        organization_limit: int,
        world: World,
    ) -> None:
        self._database = database
        self._lane = lane
        self._registry = registry
        self._executors = executors
        self._capacity = capacity
        self._acknowledgements = acknowledgements
        self._journal = journal
        self._harness = harness
        self._wakeup = wakeup
        self._environment = environment
        self._node_name = node_name
        self._organization_limit = organization_limit
        self._world = world
        self._running: dict[UUID, Attempt] = {}
        self._busy = dict.fromkeys(ExecutorKind, 0)
        self._names: dict[ExecutorKind, list[str]] = {}
        for job in registry:
            kind = job.handler.executor(job.definition.executor)
            self._names.setdefault(kind, []).append(job.definition.name)
        self._cursors = {kind: [claims.QueueCursor(queue) for queue in queues] for kind in self._names}
        self._node_id: UUID | None = None
        self._promoted_at = -1.0

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return len(self._running)

    def begin(self, node_id: UUID) -> None:
        """Claim for this node from now on."""
        self._node_id = node_id

    async def run_once(self) -> Turn:
        """Claim what the free slots can start at once, and start it."""
        node_id = self._node_id
        if node_id is None:
            return Turn()
        free = {kind: self._capacity.get(kind, 0) - self._busy[kind] for kind in self._names}
        if not any(room > 0 for room in free.values()):
            return Turn()
        claimed, due_in = await self._lane.tx(lambda connection: self._claim(connection, node_id, free))
        self._world.crash_point("after_claim")
        if self._node_id != node_id:
            # The lease was lost meanwhile: what was claimed under it is rescued, not run.
            return Turn()
        self._start(claimed)
        full = len(claimed) == sum(room for room in free.values() if room > 0)
        return Turn(did=len(claimed), again_in=0.0 if claimed and not full else due_in)

    def _claim(
        self, connection: sa.Connection, node_id: UUID, free: Mapping[ExecutorKind, int]
    ) -> tuple[list[ClaimedExecution], float | None]:
        now = self._world.monotonic()
        due_in = None
        if now - self._promoted_at >= _PROMOTE_EVERY:
            due_in = claims.promote_due(connection)
            self._promoted_at = now
        found: list[ClaimedExecution] = []
        for kind, room in free.items():
            if room > 0:
                request = claims.ClaimRequest(
                    environment=self._environment,
                    node_id=node_id,
                    names=self._names[kind],
                    cursors=self._cursors[kind],
                    organization_limit=self._organization_limit,
                )
                found += claims.claim(connection, request, room)
        return found, due_in

    def _start(self, claimed: Sequence[ClaimedExecution]) -> None:
        """Write the start lines of the whole batch, then start its handlers.

        A handler that ends its process has then left its start line, and so have those that it takes with it.
        """
        attempts = [
            prepare(row, self._registry.get(row.job_name), sink=self._journal, node=self._node_name) for row in claimed
        ]
        if not attempts:
            return
        now = self._world.now()
        for attempt in attempts:
            timeout = attempt.job.definition.timeout
            attempt.context.deadline = now + timeout
            self._harness.log_writer.job_started(attempt.identity, now)
        self._harness.log_writer.flush()
        for attempt in attempts:
            self._running[attempt.claimed.id] = attempt
            self._busy[self._kind(attempt)] += 1
            attempt.task = self._world.spawn(
                self._carry_out(attempt), name=f"mainspring-job-{attempt.claimed.job_name}"
            )
            attempt.task.add_done_callback(lambda task, attempt=attempt: self._left(attempt, task))
            attempt.timer = asyncio.get_running_loop().call_later(
                attempt.job.definition.timeout.total_seconds(), self._stop, attempt, StopReason.TIMEOUT
            )

    def _kind(self, attempt: Attempt) -> ExecutorKind:
        return attempt.job.handler.executor(attempt.job.definition.executor)

    async def _carry_out(self, attempt: Attempt) -> None:
        end = await carry_out(attempt, self._executors, self._harness, chance=self._world.random())
        if not attempt.ended:
            self._hand_over(attempt, end)

    def _hand_over(self, attempt: Attempt, end: Finish | Release) -> None:
        attempt.ended = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        if self._running.pop(attempt.claimed.id, None) is not None:
            self._busy[self._kind(attempt)] -= 1
            self._wakeup.set()
        self._journal.forget(attempt.claimed.id)
        if attempt.stop_reason is not StopReason.LEASE_LOST:
            self._acknowledgements.add(end)

    def _stop(self, attempt: Attempt, reason: StopReason) -> None:
        """Tell an attempt to stop; if it does not within ten seconds, its execution moves on without it."""
        if attempt.ended or attempt.stop_reason is not None:
            return
        attempt.stop(reason)
        if attempt.timer is not None:
            attempt.timer.cancel()
        attempt.timer = asyncio.get_running_loop().call_later(STOP_SECONDS, self._abandon, attempt)

    def _abandon(self, attempt: Attempt) -> None:
        if not attempt.ended:
            _logger.error(
                "job %r, execution %s: told to stop (%s), still running after %.0f s; it goes on without this attempt",
                attempt.claimed.job_name, attempt.claimed.id, attempt.stop_reason, STOP_SECONDS,
            )  # fmt: skip
            self._give_up(attempt, asyncio.CancelledError("told to stop, and did not"))

    def _left(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        """See to an attempt whose task ended without handing over: it was stopped before its first step."""
        if not attempt.ended:
            error = None if task.cancelled() else task.exception()
            self._give_up(attempt, error or asyncio.CancelledError("stopped before it began"))

    def _give_up(self, attempt: Attempt, error: BaseException) -> None:
        run: JobRun[object] = JobRun(attempt.identity, announced=True)
        now = self._world.now()
        run.start(now)
        run.fail(error, failure_of(error), now, 0.0)
        self._hand_over(attempt, ending_of(attempt, run, chance=self._world.random()))

    async def watch_cancels(self) -> Turn:
        """Stop what somebody wants cancelled."""
        node_id = self._node_id
        if node_id is None or not self._running:
            return Turn()
        wanted = await self._database.read(
            lambda connection: executions.cancel_requests(connection, self._environment, node_id)
        )
        stopped = 0
        for execution_id in wanted:
            attempt = self._running.get(execution_id)
            if attempt is not None:
                self._stop(attempt, StopReason.CANCEL)
                stopped += 1
        return Turn(did=stopped)

    def lose_lease(self) -> None:
        """Stop everything at once: another node will run it, and nothing written here counts any more."""
        self._node_id = None
        self._acknowledgements.give_up()
        for attempt in list(self._running.values()):
            attempt.stop(StopReason.LEASE_LOST)

    async def stop(self, grace: float) -> None:
        """Claim no more, give running attempts `grace` seconds, hand the rest back as interrupted.

        Args:
            grace: Seconds; 0 hands back at once.
        """
        self._node_id = None
        await self._settled(grace)
        for attempt in list(self._running.values()):
            self._stop(attempt, StopReason.INTERRUPT)
        await self._settled(STOP_SECONDS + 1)
        try:
            await self._journal.run_once()
            await self._acknowledgements.drain()
        except StoreError as error:
            _logger.warning("some ends could not be written before the node stopped: %s", error)

    async def _settled(self, seconds: float) -> None:
        tasks = [attempt.task for attempt in self._running.values() if attempt.task is not None]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)
