"""`mainspring exec` from its start to its exit code: the lock, the tries, the signals, and what the store is told."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mainspring.builtin.program_lock import ProgramLock
from mainspring.builtin.run_record import RunRecord, finish_of
from mainspring.builtin.tracked_program import ProgramTry
from mainspring.builtin.untold_runs import UntoldRun, UntoldRuns
from mainspring.errors import DatabaseUnreachableError, MainspringError
from mainspring.store.runs.tracked_runs import TrackedRun
from mainspring.store.upkeep.open_store import OpenStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from mainspring.builtin.tracked_program import TrackedProgram, TryEnd
    from mainspring.runtime.program import Stream
    from mainspring.settings import Settings
    from mainspring.world import World

_FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_STORE_PATIENCE_SECONDS: Final = 10.0


class TrackedExecution:
    """One run of a program, tried as often as it takes, and told to the store where that answers.

    Args:
        program: What to run.
        settings: Reads the settings: what is wrong with them keeps the program from running as little as anything else
            about the record.
        world: Clocks, chance and tasks.
        warn: Tells people, on standard error.
    """

    def __init__(
        self, program: TrackedProgram, settings: Callable[[], Settings], world: World, warn: Callable[[str], None]
    ) -> None:
        self._program = program
        self._settings = settings
        self._world = world
        self._warn = warn
        self._record: RunRecord | None = None
        self._try: ProgramTry | None = None
        self._run = _new_run(program, world)
        self._untold: UntoldRuns | None = None
        self._attempts = 0
        self._began = world.now()
        self._stopped: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Run the program, and return the exit code.

        Raises:
            MainspringError: It has a lock, and the store that keeps it does not answer.
        """
        async with AsyncExitStack() as stack:
            lock = await self._begin(stack)
            if lock is not None:
                holder = await lock.take(self._program.lock_wait)
                if holder is not None:
                    return await self._skip(f"the lock {self._program.lock!r} is held by {holder}")
                await stack.enter_async_context(self._keeping(lock))
            stack.enter_context(self._hearing_signals())
            end = await self._tries()
            await self._tell_end(end)
        return end.exit_code

    async def _begin(self, stack: AsyncExitStack) -> ProgramLock | None:
        """Open the store and tell it of the run; return the lock to take."""
        try:
            async with asyncio.timeout(_STORE_PATIENCE_SECONDS):
                settings = self._settings()
                self._untold = UntoldRuns(settings, self._program.name)
                store = await OpenStore.open(settings, self._world)
                stack.push_async_callback(self._close, store)
                record = RunRecord(
                    self._program, self._run, store=store, settings=settings, world=self._world, warn=self._warn
                )
                await record.begin()
        except Exception as error:
            told = "it does not answer in time" if isinstance(error, TimeoutError) else str(error)
            if self._program.lock is not None:
                raise DatabaseUnreachableError(
                    f"the lock {self._program.lock!r} could not be taken, and {self._program.arguments[0]} was not "
                    f"run: {told}"
                ) from error
            self._warn(f"the store does not know of this run: {told}")
            return None
        self._record = record
        await self._tell_untold()
        if self._program.lock is None:
            return None
        return ProgramLock(store.database, settings.environment, self._program.lock, world=self._world, warn=self._warn)

    async def _close(self, store: OpenStore) -> None:
        with suppress(MainspringError, TimeoutError, OSError):
            async with asyncio.timeout(_STORE_PATIENCE_SECONDS):
                await store.close()

    async def _skip(self, reason: str) -> int:
        self._warn(f"{self._program.arguments[0]} was not run: {reason}")
        if self._record is not None:
            await self._record.skip(reason)
        return 0

    @asynccontextmanager
    async def _keeping(self, lock: ProgramLock) -> AsyncGenerator[None]:
        try:
            async with self._beside(lock.keep()):
                yield
        finally:
            await lock.give_back()

    @asynccontextmanager
    async def _beside(self, work: Coroutine[object, object, None]) -> AsyncGenerator[None]:
        task = self._world.spawn(work, name="mainspring-exec")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                self._warn(f"{type(error).__name__}: {error}")

    @contextmanager
    def _hearing_signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        heard = [number for number in _FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup wants
        for number in heard:
            loop.add_signal_handler(number, self._forward, number)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)

    def _forward(self, number: signal.Signals) -> None:
        if self._try is not None:
            self._try.forward(number)
        if not self._stopped.done() and number not in {signal.SIGUSR1, signal.SIGUSR2}:
            self._stopped.set_result(number)

    def _cancel(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(signal.SIGTERM)
        if self._try is not None:
            self._try.cancel()

    async def _tries(self) -> TryEnd:
        """Run the program until it ends well, may not be tried again, or somebody wants it stopped."""
        retry = self._program.retry
        retry_count = 0
        while True:
            end = await self._one_try()
            if retry_count >= retry.max_retries or not end.may_be_tried_again:
                return end
            wait = retry.delay(retry_count, chance=self._world.random())
            retry_count += 1
            self._warn(f"{self._program.arguments[0]} {end.outcome.value}: it is tried again in {wait:.0f} s")
            if self._record is not None:
                await self._record.try_again(end, wait)
            async with self._watched():
                await asyncio.wait({self._stopped}, timeout=wait)
            if self._stopped.done():
                return end

    async def _one_try(self) -> TryEnd:
        self._attempts += 1
        self._try = ProgramTry(self._program, self._world, self._log)
        try:
            async with self._watched():
                return await self._try.run()
        finally:
            self._try = None

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            if self._record is not None:
                await stack.enter_async_context(self._beside(self._record.watch(self._cancel)))
            yield

    def _log(self, stream: Stream, line: str) -> None:
        if self._record is not None:
            self._record.log(stream, line)

    async def _tell_end(self, end: TryEnd) -> None:
        if self._record is None:
            self._keep(end, fence=0)
            return
        try:
            await self._record.end(end)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the record, the exit code is the program's
            told = "it does not answer in time" if isinstance(error, TimeoutError) else str(error)
            self._warn(f"the store does not know how this run ended: {told}")
            self._keep(end, fence=self._record.fence)

    def _keep(self, end: TryEnd, *, fence: int) -> None:
        """Keep for a later run what the store was not told."""
        if self._untold is None:
            return
        # The store may have taken a begin that it could not answer any more: that run is lost, and this is another one.
        run = self._run if fence else replace(self._run, id=self._world.new_id())
        untold = UntoldRun(finish_of(run, fence, end), self._began, self._attempts)
        try:
            if not self._untold.keep(untold):
                self._warn(f"{self._untold.path} is full, and this run is not kept")
        except OSError as error:
            self._warn(f"it is not kept in {self._untold.path} either: {error.strerror}")

    async def _tell_untold(self) -> None:
        """Tell the store of earlier runs that it does not know of."""
        if self._untold is None or self._record is None:
            return
        try:
            with self._untold.taken() as late:
                if late:
                    async with asyncio.timeout(_STORE_PATIENCE_SECONDS):
                        await self._record.tell_late(late)
        except (MainspringError, TimeoutError, OSError) as error:
            self._warn(f"earlier runs wait on in {self._untold.path}: {error}")


def _new_run(program: TrackedProgram, world: World) -> TrackedRun:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return TrackedRun(
        id=world.new_id(),
        job_name=program.name,
        node_id=world.new_id(),
        payload={"command": program.text, "host": socket.gethostname()},
        user_id=user,
    )
