"""An application under test: its jobs on a store in memory, run when the test says so, by a clock that it moves."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring import __version__
from mainspring.control.handles import JobHandle
from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.domain.write_door import payload_text
from mainspring.errors import MainspringError, NotRunningError, WaitTimeoutError
from mainspring.store import executions, registration
from mainspring.store.firing import Firing
from mainspring.testing.inline import finish_at_once
from mainspring.testing.manual_clock import Clock, ManualWorld
from mainspring.testing.stepper import Stepper
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from datetime import datetime, timedelta
    from uuid import UUID

    from mainspring.app import Mainspring
    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.execution import Execution
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.database import Database

_MOST_IN_A_DRAIN: Final = 10_000
_MOST_EXECUTIONS: Final = 100_000
_ANY: Final = object()


class Kit:
    """An application under test.

    Attributes:
        clock: Its time, which retries, delays and timeouts follow.
    """

    def __init__(
        self, clock: Clock, database: Database, environment: str, stepper: Stepper, cipher: PayloadCipher
    ) -> None:
        self.clock = clock
        self._cipher = cipher
        self._database = database
        self._scope = Scope(environment)
        self._stepper = stepper

    async def run_next(self) -> Execution | None:
        """Run the next execution that is ready, to the end of its attempt.

        Returns:
            The execution as it is then, for instance `succeeded` or `retrying`; None where nothing is ready.
        """
        execution_id = await self._stepper.run_next()
        return None if execution_id is None else self._get(execution_id)

    async def drain(self) -> list[Execution]:
        """Run executions until none is ready; delayed ones are once the clock has been advanced.

        Returns:
            One entry for each attempt, in their order, as the execution was after it.

        Raises:
            MainspringError: There was no end of it: a job keeps asking for more.
        """
        ran: list[Execution] = []
        while (execution := await self.run_next()) is not None:
            ran.append(execution)
            if len(ran) == _MOST_IN_A_DRAIN:
                raise MainspringError(
                    f"{_MOST_IN_A_DRAIN:,} executions ran and more are ready, the last one of job "
                    f"{execution.job_name!r}: does it ask for itself? Use `kit.run_next()` for as many as you want"
                )
        return ran

    def executions(self, job: str | JobHandle[Any, Any] | None = None) -> list[Execution]:
        """Return the executions that were asked for, ended or not, in their order.

        Args:
            job: Those of one job, by its name or handle; None: all.
        """
        wanted = executions.Filter(job_name=_name_of(job) if job is not None else None)
        found = finish_at_once(
            self._database.read(
                lambda connection: executions.find(connection, self._scope, wanted, most=_MOST_EXECUTIONS)
            )
        )
        return [self._in_clear(execution) for execution in reversed(found)]

    def assert_enqueued(self, job: str | JobHandle[Any, Any], payload: object = _ANY) -> Execution:
        """Fail the test unless an execution of a job was asked for.

        Args:
            job: The job, by its name or handle.
            payload: What it was to work on, of the handler's type or as JSON; by default anything.

        Returns:
            The first one, ended or not.

        Raises:
            AssertionError: There is none; the message says what was asked for instead.
        """
        name = _name_of(job)
        found = self.executions(name)
        stored = payload if payload is _ANY else _as_stored(payload, name)
        for execution in found:
            if payload is _ANY or execution.payload == stored:
                return execution
        wanted = "" if payload is _ANY else f" with the payload {stored!r}"
        raise AssertionError(f"no execution of job {name!r}{wanted} was asked for; {self._told_instead(found)}")

    def _told_instead(self, found: list[Execution]) -> str:
        if found:
            return f"there are {len(found)} with other payloads: {[execution.payload for execution in found[:5]]!r}"
        others = sorted({execution.job_name for execution in self.executions()})
        return f"there are some of {', '.join(map(repr, others))}" if others else "nothing was asked for at all"

    def _get(self, execution_id: UUID) -> Execution:
        found = finish_at_once(
            self._database.read(lambda connection: executions.get(connection, self._scope, execution_id))
        )
        if found is None:
            raise AssertionError(f"execution {execution_id} ran and is not in the store")
        return self._in_clear(found)

    def _in_clear(self, execution: Execution) -> Execution:
        return replace(execution, payload=self._cipher.decrypt(execution.payload, execution.job_name).value)


@asynccontextmanager
async def kit(
    app: Mainspring,
    *,
    inline: bool = False,
    at: datetime | None = None,
    **settings: Any,  # noqa: ANN401 - the settings of the application, checked by their own model
) -> AsyncGenerator[Kit]:
    """Put an application under test, on an empty store in memory, for as long as the block lasts.

    There are three ways to run its jobs. By default `enqueue` stores, and `await kit.run_next()` runs one execution or
    `await kit.drain()` all that are ready. With `inline`, `enqueue` runs what is ready before it returns, so that
    `await execution.wait()` has its result at once. Nothing runs by itself.

    Args:
        app: The application, neither connected nor running. Its settings come back when the block ends.
        inline: Whether `enqueue` runs the job at once, in its caller.
        at: When the clock begins, with a time zone; by default now.
        **settings: Settings of the application to test it with, by name.

    Example:
        >>> async with testing.kit(app) as kit:  # doctest: +SKIP
        ...     await order(client, item="lamp")
        ...     kit.assert_enqueued("send-receipt", payload={"item": "lamp"})
    """
    _refuse_running(app)
    clock = Clock(at or RealWorld().now())
    world = ManualWorld(clock)
    with TemporaryDirectory(prefix="mainspring-") as exports:
        chosen = {"database_url": "sqlite://", "export_dir": exports} | settings
        stand_in = type(app.settings).model_validate(app.settings.model_dump() | chosen)
        with _in_place_of(app, settings=stand_in, world=world):
            async with app.connected():
                store, environment = app.opened, app.settings.environment
                firing = Firing.by(world, environment)
                await store.database.tx(
                    lambda connection: registration.register(
                        connection, firing, app.registry, version=__version__, encrypt=app.cipher.encrypt_value
                    )
                )
                lane = await store.database.lane("test")
                stepper = Stepper(
                    settings=app.settings,
                    store=store,
                    lane=lane,
                    registry=app.registry,
                    world=world,
                    cipher=app.cipher,
                )
                clock.on_advance(stepper.look)
                own = Kit(clock, store.database, environment, stepper, app.cipher)
                commands, _ = app.commands_and_actor()
                vars(app)["_commands"] = _CommandsUnderTest(commands, own, stepper, inline=inline)
                try:
                    yield own
                finally:
                    stepper.close()


class _CommandsUnderTest:
    """The application's commands, with a look at the executions that they change."""

    def __init__(self, commands: ExecutionCommands, own: Kit, stepper: Stepper, *, inline: bool) -> None:
        self._commands = commands
        self._kit = own
        self._stepper = stepper
        self._inline = inline

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the commands have
        return getattr(self._commands, name)

    async def enqueue(self, *arguments: Any, **options: Any) -> list[UUID]:  # noqa: ANN401 - as the commands take them
        ids = await self._commands.enqueue(*arguments, **options)
        if self._inline:
            await self._kit.drain()
        return ids

    async def cancel(self, *arguments: Any, **options: Any) -> Execution:  # noqa: ANN401 - as the commands take them
        execution = await self._commands.cancel(*arguments, **options)
        self._stepper.look()
        return execution

    async def wait(self, scope: Scope, execution_id: UUID, *, timeout: timedelta | None) -> Execution:
        execution = await self._commands.get(scope, execution_id)
        if execution.status.is_final or execution.status is Status.RUNNING:
            return await self._commands.wait(scope, execution_id, timeout=timeout)
        raise WaitTimeoutError(
            f"execution {execution_id} of job {execution.job_name!r} is {execution.status}, and nothing runs by itself "
            "under test: `await kit.drain()` before you wait for it (a delay or retry also wants "
            "`kit.clock.advance(...)`), or let `enqueue` run it: `testing.kit(app, inline=True)`"
        )


def _refuse_running(app: Mainspring) -> None:
    try:
        _ = app.opened
    except NotRunningError:
        return
    raise MainspringError(
        "the application is connected or running already: enter `testing.kit(app)` instead of `app.running()`, and not "
        "twice at once"
    )


@contextmanager
def _in_place_of(app: Mainspring, **stand_ins: object) -> Generator[None]:
    """Let an application use other settings and another world for a while, with what follows from its settings."""
    held = vars(app)
    names = (*stand_ins, "exports", "cipher")
    before = {name: held.pop(name) for name in names if name in held}
    held.update(stand_ins)
    try:
        yield
    finally:
        for name in names:
            held.pop(name, None)
        held.update(before)


def _name_of(job: str | JobHandle[Any, Any]) -> str:
    return job.name if isinstance(job, JobHandle) else job


def _as_stored(payload: object, name: str) -> object:
    return None if payload is None else orjson.loads(payload_text(payload, name))
