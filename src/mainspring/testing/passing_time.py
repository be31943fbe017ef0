"""Lets time pass for an application under test as it passes for a living one, without waiting for any of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.errors import MainspringError
from mainspring.observability.metrics import Metrics
from mainspring.runtime.conditions import Conditions
from mainspring.runtime.loop import Turn
from mainspring.runtime.maintenance import Maintenance
from mainspring.runtime.monitor import UNWATCHED, Monitor
from mainspring.runtime.scheduler import Scheduler
from mainspring.store.monitoring.health_look import SETTLING
from mainspring.store.scheduling import due_schedules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.app import Mainspring
    from mainspring.observability.run_identity import RunIdentity
    from mainspring.runtime.attempt import Attempt
    from mainspring.testing.manual_clock import Clock
    from mainspring.testing.stepper import Stepper

_MOST_AT_ONE_INSTANT: Final = 10_000
_SHORTEST: Final = timedelta(microseconds=1)
_SETTLED: Final = SETTLING.total_seconds() + 0.1
"""After which the monitor counts what has ended."""


class PassingTime:
    """The time of an application under test, and what happens in it.

    Args:
        app: The application, connected.
        clock: Its clock.
        workers: Returns its workers, the living one last.
    """

    def __init__(self, app: Mainspring, clock: Clock, workers: Callable[[], Sequence[Stepper]]) -> None:
        self._app = app
        self._clock = clock
        self._workers = workers
        self._asleep: dict[asyncio.Task[UUID | None], RunIdentity] = {}
        store, settings, metrics = app.opened, app.settings, Metrics()
        self._conditions = Conditions(app.registry, app.world)
        self._scheduler = Scheduler(
            database=store.database,
            signals=store.signals,
            registry=app.registry,
            conditions=self._conditions,
            environment=settings.environment,
            world=app.world,
            metrics=metrics,
        )
        self._maintenance = Maintenance(
            store.database,
            store.signals,
            environment=settings.environment,
            retention_age=settings.retention,
            metrics=metrics,
        )
        self._monitor = Monitor(
            store.database,
            store.signals,
            NotificationSettings.of(settings, app.world),
            environment=settings.environment,
            world=app.world,
        )
        self._ran_at: float | None = None

    async def start_up(self) -> None:
        """Ask for the jobs that run when the application starts."""
        await self._scheduler.start_up()

    async def advance(self, by: timedelta) -> list[UUID]:
        """Let `by` pass, stopping at each instant at which something is due, and return what ran, by attempt."""
        if by < timedelta(0):
            raise ValueError(f"time cannot pass by {by}: it does not go back")
        until = self._clock.now + by
        ran, pause = await self._live()
        while self._clock.now < until:
            left = until - self._clock.now
            self._clock.advance(left if pause is None else min(left, pause))
            await _let_others_wake()
            more, pause = await self._live(longest_silence=timedelta.max)
            ran += more
        return ran

    async def run_ready(self) -> list[UUID]:
        """Run executions until none is ready; what sleeps by the clock is left until it has moved.

        Returns:
            Their ids, one entry for each attempt that ended, in that order.
        """
        # Only what this call has started, or nobody waits for: a handler may be in the middle of one that runs it.
        under_way, self._asleep = self._asleep, {}
        ran: list[UUID] = []
        try:
            while True:
                ran += await self._settled(under_way)
                attempt = await self._workers()[-1].start_next()
                if attempt is None:
                    return ran
                _refuse_endless(len(ran), attempt)
                ending = self._workers()[-1].finish(attempt)
                under_way[self._app.world.spawn(ending, name=attempt.claimed.job_name)] = attempt.identity
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            raise
        finally:
            self._asleep |= under_way

    async def close(self) -> None:
        """Let go of what still sleeps."""
        for task in self._asleep:
            task.cancel()
        if self._asleep:
            await asyncio.wait(self._asleep)
        self._conditions.close()

    async def _live(self, longest_silence: timedelta = UNWATCHED) -> tuple[list[UUID], timedelta | None]:
        """Do all that is due at this instant; return what ran, and how long there is nothing to do afterwards.

        Args:
            longest_silence: After which the monitor takes it that nobody watched: while time passes somebody does.
        """
        ran: list[UUID] = []
        while True:
            turns = [await self._fire(), await self._rescue(), await self._watch(longest_silence)]
            more = await self.run_ready()
            ran += more
            if more:
                self._ran_at = self._clock.elapsed
            if not more and not any(turn.did for turn in turns):
                return ran, self._pause(turns)

    async def _fire(self) -> Turn:
        turn = await self._scheduler.run_once()
        environment, judged = self._app.settings.environment, self._conditions.names
        # The scheduler of a node does not wait for those with a condition: it asks them at its next look.
        again_in = await self._app.opened.database.read(
            lambda connection: due_schedules.seconds_to_next(connection, environment, judged)
        )
        return Turn(did=turn.did, again_in=again_in)

    async def _rescue(self) -> Turn:
        turn = await self._maintenance.rescue()
        leases = [left for worker in self._workers() if (left := worker.found_dead_in) is not None]
        return Turn(did=turn.did, again_in=min(leases, default=None))

    async def _watch(self, longest_silence: timedelta) -> Turn:
        turn = await self._monitor.run_once(longest_silence=longest_silence)
        settles_in = None if self._ran_at is None else self._ran_at + _SETTLED - self._clock.elapsed
        if settles_in is None or settles_in <= 0:
            return turn
        return Turn(turn.did, settles_in if turn.again_in is None else min(turn.again_in, settles_in))

    def _pause(self, turns: Sequence[Turn]) -> timedelta | None:
        waits = [turn.again_in for turn in turns]
        waits += [self._workers()[-1].again_in, self._clock.wakes_in]
        shortest = min((wait for wait in waits if wait is not None), default=None)
        if shortest is None:
            return None
        # What is due and was not done is looked at again when a node would: after its interval.
        return max(_SHORTEST, timedelta(seconds=shortest)) if shortest > 0 else self._app.settings.poll

    async def _settled(self, under_way: dict[asyncio.Task[UUID | None], RunIdentity]) -> list[UUID]:
        """Wait until all that is under way has ended or sleeps by the clock, and return what has ended."""
        ended: list[UUID] = []
        while under_way:
            fell_asleep = self._clock.next_sleep()
            sleeping = self._clock.sleeping_attempts
            awake = [task for task, run in under_way.items() if (run.execution, run.attempt) not in sleeping]
            if awake:
                await asyncio.wait([*awake, fell_asleep], return_when=asyncio.FIRST_COMPLETED)
            fell_asleep.cancel()
            for task in [task for task in under_way if task.done()]:
                del under_way[task]
                if (execution_id := task.result()) is not None:
                    ended.append(execution_id)
            if not awake:
                break
        return ended


def _refuse_endless(ran: int, attempt: Attempt) -> None:
    if ran >= _MOST_AT_ONE_INSTANT:
        raise MainspringError(
            f"{_MOST_AT_ONE_INSTANT:,} executions ran at one instant and more are ready, the last one of job "
            f"{attempt.claimed.job_name!r}: does it ask for itself? Use `kit.run_next()` for as many as you want"
        )


async def _let_others_wake() -> None:
    """Give way once, so that tasks of the test which the clock has woken go on."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(woken.set_result, None)
    await woken
