"""Runs executions one by one, through the runtime's own parts, when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.job import ExecutorKind
from mainspring.jobs.job_run import Harness
from mainspring.locks.in_force import forsake_locks_of
from mainspring.observability.log_writer import LogWriter
from mainspring.runtime.acknowledgements import Acknowledgements
from mainspring.runtime.attempt import StopReason, prepare
from mainspring.runtime.conditions import Conditions
from mainspring.runtime.local_executor import AsyncExecutor, ThreadExecutor
from mainspring.runtime.log_and_progress_sink import LogAndProgressSink
from mainspring.runtime.running_attempts import RunningAttempts
from mainspring.settings import program_version
from mainspring.store.coordination import cluster
from mainspring.store.queue import claims, dependencies
from mainspring.testing.inline import finish_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from mainspring.jobs.context import JobContext, LogLine
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.runtime.attempt import Attempt
    from mainspring.runtime.local_executor import Executor
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection, Lane
    from mainspring.store.queue.claimed import ClaimedExecution
    from mainspring.store.queue.finishes import Finish, Release
    from mainspring.store.upkeep.open_store import OpenStore
    from mainspring.world import World


_CLOSING_SECONDS: Final = 1.0
_JUST_AFTER: Final = 0.001
"""A lease is over when its last instant has passed."""


class _InThisProcess:
    """Stands in for an executor of another process: under test a handler runs where the test can look into it."""

    def __init__(self, asynchronous: Executor, threads: Executor) -> None:
        self._asynchronous = asynchronous
        self._threads = threads

    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> object:
        """Carry out one attempt on the event loop, or on a thread."""
        executor = self._asynchronous if job.handler.is_async else self._threads
        return await executor.execute(job, context)


class _Unheard:
    """What the handlers of a dead worker speak to."""

    def log(self, context: JobContext[Any], line: LogLine) -> None:
        """Nobody reads it."""

    def progressed(self, context: JobContext[Any]) -> None:
        """Nobody sees it."""

    def beat(self, context: JobContext[Any]) -> None:
        """Nobody counts on it."""

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:  # noqa: ARG002 - of the protocol
        """Wait for an answer that never comes."""
        await asyncio.get_running_loop().create_future()


class Stepper:
    """A worker that claims one execution at a time, and only when it is asked.

    Args:
        settings: Of the application.
        store: Of the test.
        lane: A connection of that store.
        registry: The jobs.
        world: Time and chance.
        cipher: What secrets of payloads are kept in.
        wrapped: Puts something around what carries attempts out.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        store: OpenStore,
        lane: Lane,
        registry: JobRegistry,
        world: World,
        cipher: PayloadCipher,
        wrapped: Callable[[Executor], Executor] = lambda executor: executor,
    ) -> None:
        self._settings = settings
        self._store = store
        self._registry = registry
        self._world = world
        self._node_id = world.new_id()
        self._threads = ThreadExecutor(world, size=settings.threads.upper)
        self._sink = LogAndProgressSink(store.database, world, cipher)
        self._acknowledgements = Acknowledgements(
            lane, self._sink, environment=settings.environment, world=world, on_written=self._written
        )
        self._conditions = Conditions(registry, world)
        asynchronous, threads = wrapped(AsyncExecutor()), wrapped(self._threads)
        elsewhere = _InThisProcess(asynchronous, threads)
        self._running = RunningAttempts(
            database=store.database,
            executors={
                ExecutorKind.ASYNC: asynchronous,
                ExecutorKind.THREAD: threads,
                ExecutorKind.PROCESS: elsewhere,
                ExecutorKind.DASK: elsewhere,
            },
            harness=Harness(world=world, log_writer=LogWriter(log_format=settings.log_format)),
            conditions=self._conditions,
            environment=settings.environment,
            world=world,
            cipher=cipher,
            on_end=self._ended,
        )
        self._ends: dict[Attempt, asyncio.Future[None]] = {}
        self._cursors: dict[str, claims.QueueCursor] = {}
        self._claims_in: float | None = None
        self._dead_at: float | None = None

    @property
    def again_in(self) -> float | None:
        """Seconds until something waits no more, or runs too long; None: until something is asked for."""
        now = self._world.monotonic()
        waits = [attempt.times_out_at - now for attempt in self._ends]
        if self._claims_in is not None:
            waits.append(self._claims_in)
        return min(waits, default=None)

    @property
    def found_dead_in(self) -> float | None:
        """Seconds until the others notice that it is dead; None: it is not, or they have had the time."""
        if self._dead_at is None:
            return None
        left = self._dead_at + self._settings.lease.total_seconds() - self._world.monotonic()
        return left + _JUST_AFTER if left >= 0 else None

    async def run_next(self) -> UUID | None:
        """Run the next execution that is ready, to the end of its attempt, and return its id; None: none is ready."""
        attempt = await self.start_next()
        return None if attempt is None else await self.finish(attempt)

    async def start_next(self) -> Attempt | None:
        """Start the next execution that is ready; None: none is."""
        claimed = await self._claim()
        if claimed is None:
            return None
        attempt = prepare(claimed, self._registry.get(claimed.job_name), sink=self._sink, node=self._settings.node)
        self._ends[attempt] = asyncio.get_running_loop().create_future()
        self._running.start([attempt])
        if attempt.timer is not None:
            attempt.timer.cancel()  # the clock of the test decides what takes too long
        return attempt

    async def finish(self, attempt: Attempt) -> UUID | None:
        """Wait until an attempt has ended and its end is written, and return the id of its execution.

        Returns:
            The id; None: this worker has died before.
        """
        end = self._ends.get(attempt)
        try:
            if end is not None:
                await end
        except asyncio.CancelledError:
            self._running.stop(attempt, StopReason.INTERRUPT)
            raise
        if self._dead_at is not None:
            return None
        await self._acknowledgements.drain()
        return attempt.claimed.id

    def look(self) -> None:
        """Stop what runs longer than its timeout by the clock of the test, and what was cancelled."""
        finish_at_once(self._running.watch(self._node_id))

    def die(self) -> None:
        """Be like a machine without power: nothing that runs here is heard of again, and its lease will end."""
        settings = self._settings
        entry = cluster.NodeEntry(
            id=self._node_id,
            environment=settings.environment,
            name=settings.node,
            host=settings.node,
            pid=0,
            roles=("worker",),
            version=program_version(),
            slots=1,
        )
        finish_at_once(
            self._store.database.tx(
                lambda connection: cluster.register(connection, entry, lease_seconds=settings.lease.total_seconds())
            )
        )
        self._dead_at = self._world.monotonic()
        forsake_locks_of({attempt.claimed.id for attempt in self._ends})
        for attempt, end in self._ends.items():
            attempt.context.sink = _Unheard()
            if not end.done():
                end.set_result(None)

    async def close(self) -> None:
        """Stop what still runs, and let go of the threads."""
        tasks = [attempt.task for attempt in self._ends if attempt.task is not None]
        self._running.lose_all()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSING_SECONDS)
        self._conditions.close()
        self._threads.close()

    async def _claim(self) -> ClaimedExecution | None:
        queues = sorted({job.definition.queue for job in self._registry} | set(self._settings.queues))
        request = claims.ClaimRequest(
            environment=self._settings.environment,
            node_id=self._node_id,
            names=self._registry.names(),
            cursors=[self._cursors.setdefault(queue, claims.QueueCursor(queue)) for queue in queues],
            organization_limit=self._settings.org_concurrency,
        )

        def claim(connection: Connection) -> list[ClaimedExecution]:
            self._claims_in = claims.promote_due(connection)
            return claims.claim(connection, request, 1)

        await self._store.database.tx(dependencies.tie)
        return next(iter(await self._store.database.tx(claim)), None)

    def _ended(self, attempt: Attempt, end: Finish | Release | None) -> None:
        waiting = self._ends.pop(attempt)
        self._sink.forget(attempt.claimed.id)
        if self._dead_at is not None:
            return
        if end is not None:
            self._acknowledgements.add(end)
        if not waiting.done():
            waiting.set_result(None)

    def _written(self, written: Iterable[Finish | Release], _fenced: Iterable[Finish | Release]) -> None:
        self._store.signals.ended(end.id for end in written)
