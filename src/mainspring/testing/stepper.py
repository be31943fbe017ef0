"""Runs executions one by one, through the runtime's own parts, when it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mainspring.domain.job import ExecutorKind
from mainspring.jobs.job_run import Harness
from mainspring.observability.log_writer import LogWriter
from mainspring.runtime.acknowledgements import Acknowledgements
from mainspring.runtime.attempt import StopReason, prepare
from mainspring.runtime.conditions import Conditions
from mainspring.runtime.journal import Journal
from mainspring.runtime.local_executor import AsyncExecutor, ThreadExecutor
from mainspring.runtime.running_attempts import RunningAttempts
from mainspring.store import claims, dependencies
from mainspring.testing.inline import finish_at_once

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import JobRegistry, RegisteredJob
    from mainspring.runtime.attempt import Attempt
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.settings import Settings
    from mainspring.store.claimed import ClaimedExecution
    from mainspring.store.database import Connection, Lane
    from mainspring.store.finishes import Finish, Release
    from mainspring.store.open_store import OpenStore
    from mainspring.world import World


class _InThisProcess:
    """Stands in for an executor of another process: under test a handler runs where the test can look into it."""

    def __init__(self, asynchronous: AsyncExecutor, threads: ThreadExecutor) -> None:
        self._asynchronous = asynchronous
        self._threads = threads

    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> object:
        """Carry out one attempt on the event loop, or on a thread."""
        executor = self._asynchronous if job.handler.is_async else self._threads
        return await executor.execute(job, context)


class Stepper:
    """A worker that claims one execution at a time, and only when it is asked.

    Args:
        settings: Of the application.
        store: Of the test.
        lane: A connection of that store.
        registry: The jobs.
        world: Time and chance.
        cipher: What secrets of payloads are kept in.
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
    ) -> None:
        self._settings = settings
        self._store = store
        self._registry = registry
        self._node_id = world.new_id()
        self._threads = ThreadExecutor(world, size=settings.threads)
        self._journal = Journal(store.database, world, cipher)
        self._acknowledgements = Acknowledgements(
            lane, self._journal, environment=settings.environment, world=world, on_written=self._written
        )
        self._conditions = Conditions(registry, world)
        asynchronous = AsyncExecutor()
        elsewhere = _InThisProcess(asynchronous, self._threads)
        self._running = RunningAttempts(
            database=store.database,
            executors={
                ExecutorKind.ASYNC: asynchronous,
                ExecutorKind.THREAD: self._threads,
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

    @property
    def is_running(self) -> bool:
        """Whether an execution is under way."""
        return len(self._running) > 0

    async def run_next(self) -> UUID | None:
        """Run the next execution that is ready, to the end of its attempt, and return its id; None: none is ready."""
        claimed = await self._claim()
        if claimed is None:
            return None
        attempt = prepare(claimed, self._registry.get(claimed.job_name), sink=self._journal, node=self._settings.node)
        end = self._ends[attempt] = asyncio.get_running_loop().create_future()
        self._running.start([attempt])
        if attempt.timer is not None:
            attempt.timer.cancel()  # the clock of the test decides what takes too long
        try:
            await end
        except asyncio.CancelledError:
            self._running.stop(attempt, StopReason.INTERRUPT)
            raise
        await self._acknowledgements.drain()
        return claimed.id

    def look(self) -> None:
        """Stop what runs longer than its timeout by the clock of the test, and what was cancelled."""
        finish_at_once(self._running.watch(self._node_id))

    def close(self) -> None:
        """Let go of the threads."""
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
            claims.promote_due(connection)
            return claims.claim(connection, request, 1)

        await self._store.database.tx(dependencies.tie)
        return next(iter(await self._store.database.tx(claim)), None)

    def _ended(self, attempt: Attempt, end: Finish | Release | None) -> None:
        self._journal.forget(attempt.claimed.id)
        if end is not None:
            self._acknowledgements.add(end)
        waiting = self._ends.pop(attempt)
        if not waiting.done():
            waiting.set_result(None)

    def _written(self, written: Iterable[Finish | Release], _fenced: Iterable[Finish | Release]) -> None:
        for end in written:
            self._store.signals.ended(end.id)
