"""Claims executions while slots are free, and hands their ends over to be written."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import STOP_SECONDS, Outcome
from mainspring.errors import StoreError
from mainspring.runtime import interpreter
from mainspring.runtime.attempt import StopReason, prepare
from mainspring.runtime.loop import Turn
from mainspring.runtime.running_attempts import RunningAttempts
from mainspring.store.queue import claims, dependencies
from mainspring.store.queue.claim_looks import ClaimLooks
from mainspring.store.queue.finishes import Release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from mainspring.domain.job import ExecutorKind
    from mainspring.jobs.job_run import Harness
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.runtime.acknowledgements import Acknowledgements
    from mainspring.runtime.attempt import Attempt
    from mainspring.runtime.conditions import Conditions
    from mainspring.runtime.error_tracking import ErrorTracking
    from mainspring.runtime.local_executor import Executor
    from mainspring.runtime.log_and_progress_sink import LogAndProgressSink
    from mainspring.runtime.policies_in_force import PoliciesInForce
    from mainspring.runtime.remote_claims import RemoteClaims
    from mainspring.runtime.slots import NodeSlots
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.engine.database import Connection, Database, Lane
    from mainspring.store.engine.signals import Wakeup
    from mainspring.store.queue.claims import ClaimedExecution
    from mainspring.store.queue.finishes import Finish
    from mainspring.world import World

_logger = logging.getLogger(__name__)

_PROMOTE_EVERY: Final = 0.1
_QUICK_CLAIM: Final = 0.005
_WORTH_OF_A_ROW: Final = 0.001
_RESTS_PER_CLAIM: Final = 3.0
_LONGEST_REST: Final = 0.1
"""Where hundreds of organizations run at their limit, a claim walks past them all to find the few with room. A node
that did so at each end would leave the others no time; so it lets room gather, for three times what a claim took
longer than 5 ms and a further millisecond for each row that it brought.
"""
DOUBT_SECONDS: Final = 60.0
"""How long after a lost answer the claim may still reach the store: longer than any statement may take."""


class Worker:
    """The part of a node that runs jobs.

    Args:
        database: Where cancel requests are read.
        lane: The connection that claims.
        registry: The jobs that this node knows; others are left alone.
        executors: How attempts are carried out, by kind.
        slots: How many attempts of a kind may run at once.
        queues: Whose executions are claimed.
        acknowledgements: Where ends go.
        sink: Where log lines and progress of handlers go.
        conditions: Whether runs that were asked for are wanted.
        harness: What wraps every run.
        wakeup: Woken when there may be work or room.
        on_start: Called when attempts have begun.
        environment: The node's environment.
        node_name: What handlers and log lines call this node.
        organization_limit: Running executions per organization where none is set for it.
        world: Time, chance and tasks.
        cipher: What secrets of payloads are kept in.
        remote: Claims the executions of services; None: others do.
        tracking: Who tells Sentry of attempts, if anybody does.
        policies: How its jobs are run where admins have said so; None: as their code says.
    """

    def __init__(
        self,
        *,
        database: Database,
        lane: Lane,
        registry: JobRegistry,
        executors: Mapping[ExecutorKind, Executor],
        slots: NodeSlots,
        queues: Sequence[str],
        acknowledgements: Acknowledgements,
        sink: LogAndProgressSink,
        harness: Harness,
        conditions: Conditions,
        wakeup: Wakeup,
        on_start: Callable[[], None],
        environment: str,
        node_name: str,
        organization_limit: int,
        world: World,
        cipher: PayloadCipher,
        remote: RemoteClaims | None = None,
        tracking: ErrorTracking | None = None,
        policies: PoliciesInForce | None = None,
    ) -> None:
        self._lane = lane
        self._policies = policies or registry
        self._registry = registry
        self._slots = slots
        self._acknowledgements = acknowledgements
        self._sink = sink
        self._wakeup = wakeup
        self._on_start = on_start
        self._environment = environment
        self._node_name = node_name
        self._organization_limit = organization_limit
        self._world = world
        self._remote = remote
        self._running = RunningAttempts(
            database=database,
            executors=executors,
            harness=harness,
            conditions=conditions,
            environment=environment,
            world=world,
            cipher=cipher,
            on_end=self._ended,
            tracking=tracking,
        )
        self._looks = ClaimLooks(environment, queues)
        self._names: dict[ExecutorKind, list[str]] = {}
        for job in registry:
            self._names.setdefault(job.executor, []).append(job.definition.name)
        self._cursors = {kind: [claims.QueueCursor(queue) for queue in queues] for kind in self._names}
        self._node_id: UUID | None = None
        self._promoted_at = -1.0
        self._rests_until = 0.0
        self._claiming = asyncio.Lock()
        self._in_doubt_until = 0.0

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return len(self._running)

    def begin(self, node_id: UUID) -> None:
        """Claim for this node from now on."""
        if not self._world.simulated:
            interpreter.suit_a_node()
        self._node_id = node_id

    async def run_once(self) -> Turn:
        """Claim what the free slots can start at once, and start it."""
        node_id = self._node_id
        if node_id is None:
            return Turn()
        free = {kind: self._slots.to_claim(kind) for kind in self._names}
        if not any(room > 0 for room in free.values()) and not (self._remote and self._remote.has_room):
            return Turn()
        began = self._world.monotonic()
        if began < self._rests_until:
            return Turn(again_in=self._rests_until - began)
        async with self._claiming:
            await self._hand_back_unknown(node_id)
            try:
                claimed, due_in = await self._lane.tx(lambda connection: self._claim(connection, node_id, free))
            except StoreError:
                self._in_doubt_until = self._world.monotonic() + DOUBT_SECONDS
                raise
            self._rest(began, len(claimed))
            self._world.crash_point("after_claim")
            if self._node_id != node_id:  # it stops, or has lost its lease meanwhile
                for row in claimed:
                    self._hand_back_untouched(row.id, row.fence, row.limit_key)
                return Turn()
            self._start(claimed)
            if due_in == 0.0:
                await self._lane.tx(dependencies.tie)
        return Turn(did=len(claimed), again_in=0.0 if claimed else due_in)

    def _claim(
        self, connection: Connection, node_id: UUID, free: Mapping[ExecutorKind, int]
    ) -> tuple[list[ClaimedExecution], float | None]:
        seen = self._looks.look(connection, node_id)
        if not seen.may_claim:  # of its death the heartbeat will hear soon
            return [], None
        now = self._world.monotonic()
        # What became due since the last look is found by one more, even if nobody wakes this loop again.
        due_in: float | None = self._promoted_at + _PROMOTE_EVERY - now
        if due_in <= 0:
            due_in = claims.promote_due(connection)
            self._promoted_at = now
        found: list[ClaimedExecution] = []
        for kind, room in free.items():
            if room > 0:
                request = claims.ClaimRequest(
                    environment=self._environment,
                    node_id=node_id,
                    names=self._own(self._names[kind]),
                    cursors=self._cursors[kind],
                    organization_limit=self._organization_limit,
                )
                claimed = claims.claim(connection, request, room, seen)
                self._slots.claimed(kind, room=room, found=len(claimed))
                found += claimed
        if self._remote is not None:
            found += self._remote.claim(connection, node_id)
        return found, due_in

    def _own(self, names: Sequence[str]) -> Sequence[str]:
        """Leave out what has moved to a service since this program was deployed."""
        if self._remote is None or not self._remote.jobs.names:
            return names
        return [name for name in names if name not in self._remote.jobs.names]

    def _rest(self, began: float, claimed: int) -> None:
        """Put the next claim off if the one that began then took long for the little that it brought."""
        now = self._world.monotonic()
        slow = max(0.0, now - began - _QUICK_CLAIM - claimed * _WORTH_OF_A_ROW)
        self._rests_until = now + min(_LONGEST_REST, _RESTS_PER_CLAIM * slow)

    async def _hand_back_unknown(self, node_id: UUID) -> None:
        """After a claim whose answer was lost: give back what the store says is ours and nobody here knows of."""
        if self._world.monotonic() > self._in_doubt_until:
            return
        for row in await self._lane.tx(lambda connection: claims.held(connection, node_id)):
            if not self._running.has(row.id, row.fence) and not self._acknowledgements.has(row.id, row.fence):
                self._hand_back_untouched(row.id, row.fence, row.limit_key)

    async def _hand_back_all_unknown(self, node_id: UUID) -> None:
        try:
            await self._hand_back_unknown(node_id)
        except StoreError as error:
            _logger.warning("what the last claim took could not be asked for (%s): it counts as lost", error)

    def _hand_back_untouched(self, execution_id: UUID, fence: int, limit_key: str | None) -> None:
        end = Release(execution_id, fence, Outcome.INTERRUPTED, wait_seconds=0.0, retrying=False, limit_key=limit_key)
        self._acknowledgements.add(end)

    def _start(self, claimed: Sequence[ClaimedExecution]) -> None:
        if not claimed:
            return
        jobs = {name: self._job_of(name) for name in {row.job_name for row in claimed}}
        attempts = [
            prepare(row, job, sink=self._sink, node=self._node_name, service=service)
            for row in claimed
            for job, service in [jobs[row.job_name]]
        ]
        for kind, count in Counter(attempt.job.executor for attempt in attempts).items():
            self._slots.began(kind, count)
        if self._remote is not None:
            self._remote.began(attempt.identity.service for attempt in attempts)
        self._running.start(attempts)
        self._on_start()

    def _job_of(self, name: str) -> tuple[RegisteredJob, str | None]:
        """Return a job as it is to be run now, and the service that runs it, if one does."""
        found = self._remote.job_of(name, self._registry) if self._remote is not None else None
        return found or (self._policies.get(name), None)

    def _ended(self, attempt: Attempt, end: Finish | Release | None) -> None:
        self._slots.ended(attempt.job.executor)
        if self._remote is not None and attempt.identity.service is not None:
            self._remote.ended(attempt.identity.service)
        if attempt.goes_on and self._remote is not None:
            seconds_left = max(0.0, attempt.times_out_at - self._world.monotonic())
            self._acknowledgements.add(self._remote.handed_over(attempt.claimed, seconds_left))
        self._wakeup.set()
        self._sink.forget(attempt.claimed.id)
        if end is not None:
            self._acknowledgements.add(end)

    async def watch(self) -> Turn:
        """Stop what has run too long, and what somebody wants cancelled."""
        return await self._running.watch(self._node_id)

    def lose_lease(self) -> None:
        """Stop everything at once: another node will run it, and nothing written here counts any more."""
        self._node_id = None
        self._acknowledgements.give_up()
        self._running.lose_all()

    def hand_back(self) -> None:
        """Tell all that runs to stop now; its executions go back as interrupted."""
        self._running.stop_all(StopReason.INTERRUPT)

    async def stop(self, grace: float) -> None:
        """Claim no more, give running attempts `grace` seconds, hand the rest back as interrupted.

        Args:
            grace: Seconds; 0 hands back at once.
        """
        node_id, self._node_id = self._node_id, None
        async with self._claiming:  # what is being claimed at this moment is handed back first
            if node_id is not None:
                await self._hand_back_all_unknown(node_id)
        await self._running.settled(grace)
        self._running.stop_all(StopReason.INTERRUPT)
        await self._running.settled(STOP_SECONDS + 1)
        await self._acknowledgements.drain()
        try:
            await self._sink.run_once()
        except StoreError as error:
            _logger.warning("some log lines could not be written before the node stopped: %s", error)
