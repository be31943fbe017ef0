"""What the store is told of a run of `mainspring exec`: that it began, what it writes, how it ended."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mainspring.builtin.tracked_program import JOB_TYPE
from mainspring.domain.execution import Outcome, Status
from mainspring.domain.write_door import json_text, result_text
from mainspring.errors import MainspringError
from mainspring.jobs.registry import JobRegistry
from mainspring.runtime.heartbeat import Heartbeat
from mainspring.settings import program_version
from mainspring.store.coordination import cluster, dead_nodes
from mainspring.store.engine.signals import WORK
from mainspring.store.jobs import definitions, registration
from mainspring.store.queue import finishes
from mainspring.store.queue.finishes import Finish
from mainspring.store.runs import executions, run_logs, tracked_runs
from mainspring.store.runs.run_logs import WrittenLine
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mainspring.builtin.tracked_program import TrackedProgram, TryEnd
    from mainspring.builtin.untold_runs import UntoldRun
    from mainspring.runtime.program import Stream
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection
    from mainspring.store.runs.tracked_runs import TrackedRun
    from mainspring.store.upkeep.open_store import OpenStore
    from mainspring.world import World

WATCH_SECONDS: Final = 1.0
_END_PATIENCE_SECONDS: Final = 20.0
_STATUSES: Final = {Outcome.SUCCEEDED: Status.SUCCEEDED, Outcome.CANCELLED: Status.CANCELLED}


class RunRecord:
    """One run as the store has it.

    This process is a node of its own, whose heartbeat is the lease of the run: where it is killed, the others see a
    lost run. What the store does not take while the program runs is told again, and keeps nothing from running.

    Args:
        program: What runs.
        run: The run.
        store: Where it is told.
        settings: Whose environment, and how long a lease is.
        world: Clocks and ids.
        warn: Tells people.
    """

    def __init__(
        self,
        program: TrackedProgram,
        run: TrackedRun,
        *,
        store: OpenStore,
        settings: Settings,
        world: World,
        warn: Callable[[str], None],
    ) -> None:
        self._program = program
        self._store = store
        self._settings = settings
        self._world = world
        self._warn = warn
        self._node_id = run.node_id
        self._run = run
        self._who = Firing.by(world, settings.environment, run.node_id)
        self._fence = 0
        self._attempt = 1
        self._lines: list[WrittenLine] = []
        self._is_lost = False
        self._heartbeat = Heartbeat(
            store.database,
            self._node_id,
            lease=settings.lease,
            interval=settings.heartbeat,
            world=world,
            on_lost=self._lose,
        )

    async def begin(self) -> None:
        """Enter this process as a node, declare the job, and keep that a run of it has begun.

        Raises:
            MainspringError: The store did not take it.
        """
        self._fence = await self._store.database.tx(self._begin)
        self._heartbeat.start()
        with suppress(MainspringError):
            await self._rescue()

    def _lose(self) -> None:
        self._is_lost = True
        self._warn("the store counts this run as lost, or soon will; the program goes on")

    async def _rescue(self) -> None:
        """See to runs that are lost: where nothing but cron runs, there is no other node to do it."""
        if await self._store.database.read(dead_nodes.is_anything_lost):
            await self._store.database.tx(dead_nodes.bury)
            await self._store.database.tx(dead_nodes.rescue)

    def _begin(self, connection: Connection) -> int:
        settings = self._settings
        entry = cluster.NodeEntry(
            id=self._node_id,
            environment=settings.environment,
            name=settings.node,
            host=socket.gethostname(),
            pid=os.getpid(),
            roles=(tracked_runs.ROLE,),
            version=program_version(),
            slots=1,
        )
        tracked_runs.forget_watchers(connection, settings.environment)
        cluster.register(connection, entry, lease_seconds=settings.lease.total_seconds())
        self._declare(connection)
        return tracked_runs.begin(connection, self._who, self._run)

    def _declare(self, connection: Connection) -> None:
        name = self._program.name
        known = definitions.get(connection, self._who.environment, name)
        if known is not None and known.job_type != JOB_TYPE and known.retired_at is None:
            self._warn(f"{name!r} is a job of an application, which stays as it is: use another name for the program")
            return
        registry = JobRegistry()
        registry.add(self._program.definition, _never_called)
        registration.register(connection, self._who, registry)

    async def tell_late(self, runs: Sequence[UntoldRun]) -> None:
        """Tell of earlier runs, whose ends the store has not heard of: of all, or of none.

        Raises:
            MainspringError: The store did not take them.
        """

        def tell(connection: Connection) -> None:
            for late in runs:
                finish, run = late.finish, replace(self._run, id=late.finish.id)
                if not finish.fence:
                    finish.fence = tracked_runs.begin(
                        connection, self._who, run, started_at=late.started_at, attempts=late.attempts
                    )
                finishes.finish(connection, self._who.environment, [finish], new_id=self._world.new_id)

        await self._store.database.tx(tell)

    def log(self, stream: Stream, line: str) -> None:
        """Keep a line that the program writes, to be told within a second."""
        written = WrittenLine(
            execution_id=self._run.id,
            fence=self._fence,
            attempt=self._attempt,
            at=self._world.now(),
            level="info",
            message=line,
            fields=json_text({"stream": stream}),
        )
        self._lines.append(written)

    async def watch(self, cancel: Callable[[], None]) -> None:
        """Tell what the program writes, and hear whether somebody wants the run cancelled, until this is cancelled.

        Args:
            cancel: Ends the program.
        """
        while True:
            await self._world.sleep(WATCH_SECONDS)
            try:
                await self._tell_lines()
                wanted = await self._store.database.read(
                    lambda connection: executions.cancel_requests(connection, self._settings.environment, self._node_id)
                )
            except (MainspringError, OSError):
                continue  # the heartbeat warns of it, and the next second asks again
            if wanted:
                cancel()

    async def _tell_lines(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            await self._store.database.tx(lambda connection: run_logs.write(connection, lines))
        except BaseException:
            self._lines = lines + self._lines
            raise

    async def try_again(self, end: TryEnd, wait: float) -> None:
        """Keep a try that failed, and that another one follows after `wait` seconds."""
        message = f"try {self._attempt} {end.outcome.value.replace('_', ' ')}; the next one begins in {wait:.0f} s"
        error = json_text(end.failure.as_json() if end.failure is not None else None)
        fence = self._fence

        def again(connection: Connection) -> int | None:
            return tracked_runs.try_again(
                connection, self._run.id, fence, outcome=end.outcome, error=error, message=message
            )

        try:
            await self._tell_lines()
            following = await self._store.database.tx(again)
        except (MainspringError, OSError) as failure:
            self._warn(f"the store was not told of it: {failure}")
            return
        if following is not None:
            self._fence = following
            self._attempt += 1

    @property
    def fence(self) -> int:
        """The fence of the present attempt, without which the store takes no end of it."""
        return self._fence

    async def end(self, end: TryEnd) -> None:
        """Keep how the run ended.

        Raises:
            MainspringError: The store did not take it.
        """
        await self._finish(finish_of(self._run, self._fence, end))

    async def skip(self, reason: str) -> None:
        """Keep that the program was not run, and why."""
        await self._finish(
            Finish(
                id=self._run.id,
                fence=self._fence,
                job_name=self._program.name,
                status=Status.SKIPPED,
                outcome=Outcome.SKIPPED,
                duration_ms=0,
                skip_reason=reason,
            )
        )

    async def _finish(self, finish: Finish) -> None:
        lines = self._lines

        def write(connection: Connection) -> bool:
            run_logs.write(connection, lines)
            return finish.id in finishes.finish(
                connection, self._settings.environment, [finish], new_id=self._world.new_id
            )

        try:
            async with asyncio.timeout(_END_PATIENCE_SECONDS):
                if not await self._store.database.tx(write):
                    self._warn("the store had given this run up as lost, and keeps it so")
            self._store.signals.send(WORK)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(WATCH_SECONDS):
                if not self._is_lost:
                    await self._heartbeat.stop()
                await self._store.database.tx(lambda connection: cluster.leave(connection, self._node_id))
        except (MainspringError, TimeoutError, OSError):
            return  # the lease ends by itself


def finish_of(run: TrackedRun, fence: int, end: TryEnd) -> Finish:
    """Return the end of a run as the store takes it."""
    failure = end.failure
    return Finish(
        id=run.id,
        fence=fence,
        job_name=run.job_name,
        status=_STATUSES.get(end.outcome, Status.FAILED),
        outcome=end.outcome,
        duration_ms=int(end.seconds * 1000),
        result=result_text(end.result.as_json()),
        error=json_text(failure.as_json()) if failure is not None else None,
        error_message=failure.message if failure is not None else None,
        error_class=failure.error_class.value if failure is not None else None,
        error_fingerprint=failure.fingerprint if failure is not None else None,
        message_code=failure.code if failure is not None else None,
        summary=end.result.summary,
    )


def _never_called() -> None:
    """Stand for the handler: nobody here starts what somebody else starts."""
