"""An application under test: its jobs on a store in memory, run when the test says so, by a clock that it moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring import __version__
from mainspring.domain.access import Scope
from mainspring.store.alerting import alerts
from mainspring.store.jobs import registration
from mainspring.store.monitoring import health
from mainspring.store.runs import executions
from mainspring.store.scheduling.firing import Firing
from mainspring.testing.expectations import ANYTHING, asked_for, assert_enqueued, in_clear, name_of
from mainspring.testing.inline import finish_at_once
from mainspring.testing.manual_clock import Clock, ManualWorld
from mainspring.testing.passing_time import PassingTime
from mainspring.testing.stand_in import CommandsUnderTest, in_place_of, refuse_running
from mainspring.testing.stepper import Stepper
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.app import Mainspring
    from mainspring.control.handles import JobHandle
    from mainspring.domain.alert import Alert
    from mainspring.domain.execution import Execution
    from mainspring.domain.health import Health
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.local_executor import Executor
    from mainspring.store.engine.database import Connection

Result = TypeVar("Result")


class Kit:
    """An application under test.

    Attributes:
        app: The application.
        clock: Its time, which schedules, retries, delays, leases and timeouts follow.
    """

    def __init__(self, app: Mainspring, clock: Clock, make_worker: Callable[[], Stepper]) -> None:
        self.app = app
        self.clock = clock
        self._make_worker = make_worker
        self._workers = [make_worker()]
        self._time = PassingTime(app, clock, lambda: self._workers)
        clock.on_advance(self.look)

    async def run_next(self) -> Execution | None:
        """Run the next execution that is ready, to the end of its attempt.

        Returns:
            The execution as it is then, for instance `succeeded` or `retrying`; None where nothing is ready, or the
            worker was killed.
        """
        execution_id = await self._workers[-1].run_next()
        return None if execution_id is None else self._get(execution_id)

    async def drain(self) -> list[Execution]:
        """Run executions one after the other until none is ready; delayed ones are once the clock has been advanced.

        A handler that sleeps by the clock (`await app.world.sleep(...)`) is left to go on when it has moved.

        Returns:
            One entry for each attempt, in their order, as the execution is now.

        Raises:
            MainspringError: There was no end of it: a job keeps asking for more.
        """
        return [self._get(execution_id) for execution_id in await self._time.run_ready()]

    async def advance(self, by: timedelta) -> list[Execution]:
        """Let time pass as it passes for an application that runs.

        What becomes due happens at its own instant and in its order: schedules fire, delays end, retries start,
        attempts time out, the executions of killed workers are taken back; and what is ready is run.
        `kit.clock.advance(...)` lets time pass while nobody is awake: what is due in it is late afterwards.

        Args:
            by: How much; never negative.

        Returns:
            One entry for each attempt that ended, in their order, as the execution is now.

        Raises:
            MainspringError: There was no end of it: a job keeps asking for more.

        Example:
            >>> await kit.advance(timedelta(hours=3))  # doctest: +SKIP
        """
        return [self._get(execution_id) for execution_id in await self._time.advance(by)]

    async def start_up(self) -> None:
        """Let the application start: the jobs with `OnStartup()` are asked for, and wait to be run."""
        await self._time.start_up()

    def kill_worker(self) -> None:
        """Kill the worker as if its machine had lost its power; another one takes its place at once.

        What it runs is not told to stop: it is never heard of again. The others notice when its lease is over
        (`MAINSPRING_LEASE`), and run it again: `await kit.advance(timedelta(seconds=16))`.
        """
        self._workers[-1].die()
        self._workers.append(self._make_worker())

    def executions(self, job: str | JobHandle[Any, Any] | None = None) -> list[Execution]:
        """Return the executions that were asked for, ended or not, in their order.

        Args:
            job: Those of one job, by its name or handle; None: all.
        """
        name = None if job is None else name_of(job)
        return [execution for execution in asked_for(self.app) if name in (None, execution.job_name)]

    def health(self, job: str | JobHandle[Any, Any]) -> Health:
        """Return how a job is doing, as the monitor has found it; it looks whenever something happens.

        Args:
            job: Its name or handle.

        Raises:
            AssertionError: The monitor has not seen it yet: no time has passed.
        """
        name, environment = name_of(job), self.app.settings.environment
        found = finish_at_once(self.app.opened.database.read(lambda connection: health.find(connection, environment)))
        if name not in found:
            raise AssertionError(f"the monitor has not looked at job {name!r} yet: let time pass by `kit.advance(...)`")
        return found[name].health

    def alerts(self) -> list[Alert]:
        """Return the alerts that are open, those that opened first in front."""
        environment = self.app.settings.environment
        return finish_at_once(
            self.app.opened.database.read(lambda connection: alerts.all_open(connection, environment))
        )

    def assert_enqueued(
        self, job: str | JobHandle[Any, Any], payload: object = ANYTHING, *, times: int | None = None, **facts: object
    ) -> list[Execution]:
        """Fail the test unless executions of a job were asked for; see `testing.assert_enqueued`."""
        return assert_enqueued(self.app, job, payload, times=times, **facts)

    def look(self) -> None:
        """Stop what runs longer than its timeout, and what was cancelled; the clock and `cancel` see to it."""
        self._workers[-1].look()

    async def close(self) -> None:
        """Let go of what still runs."""
        await self._time.close()
        for worker in self._workers:
            await worker.close()

    def _get(self, execution_id: UUID) -> Execution:
        def read(connection: Connection) -> Execution | None:
            return executions.get(connection, Scope(self.app.settings.environment), execution_id)

        found = finish_at_once(self.app.opened.database.read(read))
        if found is None:
            raise AssertionError(f"execution {execution_id} ran and is not in the store")
        return in_clear(self.app, found)


@asynccontextmanager
async def kit(
    app: Mainspring,
    *,
    inline: bool = False,
    at: datetime | None = None,
    schedules: bool = True,
    wrapped: Callable[[Executor], Executor] = lambda executor: executor,
    **settings: Any,  # noqa: ANN401 - the settings of the application, checked by their own model
) -> AsyncGenerator[Kit]:
    """Put an application under test, on an empty store in memory, for as long as the block lasts.

    There are three ways to run its jobs. By default `enqueue` stores, and `await kit.run_next()` runs one execution,
    `await kit.drain()` all that are ready, and `await kit.advance(...)` all that become ready in that time. With
    `inline`, `enqueue` runs what is ready before it returns, so that `await execution.wait()` has its result at once.
    Nothing runs by itself.

    Args:
        app: The application, neither connected nor running. Its settings come back when the block ends.
        inline: Whether `enqueue` runs the job at once, in its caller.
        at: When the clock begins, with a time zone; by default now.
        schedules: Whether schedules fire; those of jobs that came with mainspring never do.
        wrapped: Puts something around what carries attempts out, such as what kills them (`testing.chaos`).
        **settings: Settings of the application to test it with, by name.

    Example:
        >>> async with testing.kit(app) as kit:  # doctest: +SKIP
        ...     await order(client, item="lamp")
        ...     kit.assert_enqueued("send-receipt", payload={"item": "lamp"})
    """
    refuse_running(app)
    clock = Clock(at or RealWorld().now())
    world = ManualWorld(clock)
    with TemporaryDirectory(prefix="mainspring-") as exports:
        chosen = {"database_url": "sqlite://", "export_dir": exports} | settings
        stand_in = type(app.settings).model_validate(app.settings.model_dump() | chosen)
        with in_place_of(app, settings=stand_in, world=world):
            async with app.connected():
                store = app.opened
                firing = Firing.by(world, app.settings.environment)
                silent = app.registry.built_in if schedules else app.registry.names()
                jobs = [_without_schedule(job) if job.definition.name in silent else job for job in app.registry]
                await store.database.tx(
                    lambda connection: registration.register(
                        connection, firing, jobs, version=__version__, encrypt=app.cipher.encrypt_value
                    )
                )
                lane = await store.database.lane("test")
                own = Kit(
                    app,
                    clock,
                    lambda: Stepper(
                        settings=app.settings,
                        store=store,
                        lane=lane,
                        registry=app.registry,
                        world=world,
                        cipher=app.cipher,
                        wrapped=wrapped,
                    ),
                )
                commands, _ = app.commands_and_actor()
                vars(app)["_commands"] = CommandsUnderTest(commands, own, inline=inline)
                try:
                    yield own
                finally:
                    await own.close()


def _without_schedule(job: RegisteredJob) -> RegisteredJob:
    return replace(job, definition=replace(job.definition, schedule=None))
