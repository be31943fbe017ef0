"""The composition root: an application declares its jobs on a `Mainspring`, which wires everything else."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from mainspring.builtin.export import export_report
from mainspring.control.decorator import JobDecorator
from mainspring.control.executions import ExecutionCommands
from mainspring.control.handles import ExecutionHandle
from mainspring.control.manager import CronJobManager
from mainspring.control.schedules import ScheduleCommands
from mainspring.domain.access import Actor
from mainspring.domain.job import DEFAULT_CATCH_UP, DEFAULT_CATCH_UP_LIMIT, DEFAULT_QUEUE, DEFAULT_TIMEOUT
from mainspring.errors import NotRunningError
from mainspring.jobs.job_run import Harness
from mainspring.jobs.registry import JobRegistry
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.logs import configure_logging
from mainspring.observability.metrics import Metrics
from mainspring.reports.source import Report, ReportRegistry
from mainspring.reports.storage import ExportStorage
from mainspring.runtime.node import ROLES, Node
from mainspring.settings import Settings, load_settings, program_version
from mainspring.store import registration
from mainspring.store.firing import Firing
from mainspring.store.open_store import OpenStore
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from datetime import datetime

    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.job import Retry, Schedule, Thresholds
    from mainspring.jobs.context import JobContext
    from mainspring.reports.source import ReportRows
    from mainspring.world import World

Registered = TypeVar("Registered")
RowSource = TypeVar("RowSource", bound="ReportRows")

running_app: ContextVar[Mainspring | None] = ContextVar("mainspring_running_app", default=None)
"""The application whose store is open in this context: how `@distributed_lock` finds its backend."""


class Mainspring:
    """An application: its jobs, its settings, and the node that runs them.

    Args:
        world: Time, chance, threads and tasks; tests give a simulated one.
        **settings: Settings by name that win over `MAINSPRING_*` and `mainspring.toml`.

    Example:
        >>> app = Mainspring(database_url="sqlite://")
        >>> @app.job("greet")
        ... async def greet(ctx: JobContext) -> str:
        ...     return "hello"
    """

    def __init__(self, *, world: World | None = None, **settings: Any) -> None:  # noqa: ANN401 - checked by the settings
        self._overrides = settings
        self._world = world
        self.registry = JobRegistry()
        self.reports = ReportRegistry()
        self.metrics = Metrics()
        self._store: OpenStore | None = None
        self._commands: ExecutionCommands | None = None
        self._path: str | None = None
        self._declare_built_in_jobs()

    @cached_property
    def settings(self) -> Settings:
        """The settings in force, read when they are first needed.

        Raises:
            ConfigurationError: One is unknown or out of its range.
        """
        return load_settings(**self._overrides)

    @cached_property
    def world(self) -> World:
        """Time, chance, threads and tasks."""
        settings = self.settings
        return self._world or RealWorld(clock_shift=settings.clock_shift(), crash_at=settings.test_crash_at)

    @cached_property
    def exports(self) -> ExportStorage:
        """Where the files of `export_report` lie."""
        return ExportStorage(self.settings.export_dir)

    # Declaring jobs -------------------------------------------------------------------------------------------------

    def job(
        self,
        name: str,
        *,
        schedule: Schedule | None = None,
        schedule_payload: object = None,
        display_name: str = "",
        description: str | None = None,
        group: str = "default",
        job_type: str = "job",
        queue: str = DEFAULT_QUEUE,
        retry: Retry | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        thresholds: Thresholds | None = None,
        executor: Literal["auto", "async", "thread", "process", "dask"] = "auto",
        max_running: int | None = None,
        concurrency_key: str | None = None,
        rate_limit: str | None = None,
        overlap: Literal["skip", "queue", "cancel_running", "allow"] = "skip",
        misfire: Literal["skip", "fire_once", "fire_all"] = "fire_once",
        catch_up: timedelta = DEFAULT_CATCH_UP,
        catch_up_limit: int = DEFAULT_CATCH_UP_LIMIT,
        jitter: timedelta = timedelta(0),
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        pause_after: int | None = None,
        condition: Callable[[], bool | Awaitable[bool]] | None = None,
        enabled: bool = True,
        on_demand: bool = False,
        depends_on: Sequence[str] = (),
        on_lost: Literal["retry", "fail"] = "retry",
        sensitive: Sequence[str] = (),
        searchable: Sequence[str] = (),
        allow_money: Sequence[str] = (),
        memory_limit: int | None = None,
        cpu_limit: timedelta | None = None,
    ) -> JobDecorator:
        """Declare a job.

        Args:
            name: The unique name, `[A-Za-z0-9][A-Za-z0-9._-]{0,199}`; it identifies the job for ever.
            schedule: When it fires: `Cron`, `Every` or `OnStartup`; None: only when asked for.
            schedule_payload: The payload of scheduled runs; by default the payload type's defaults.
            display_name: What people read; by default the name.
            description: One sentence; by default the first paragraph of the docstring.
            group: A label that people sort by.
            job_type: Another label.
            queue: Which queue its executions wait in.
            retry: When failures are tried again; None: three times on demand, never when scheduled.
            timeout: The longest attempt.
            thresholds: The limits that open alerts.
            executor: `auto`, `async`, `thread`, `process` or `dask`.
            max_running: How many run at once, over all nodes; one by default for a job with a schedule.
            concurrency_key: Makes `max_running` and `rate_limit` count for each key.
            rate_limit: How many may start in any period, over all nodes: `100/m`, `5/10s`; a tenth of them at once.
            overlap: What a schedule does while the last run goes on: `skip`, `queue`, `cancel_running`, `allow`.
            misfire: What it does about missed instants: `skip`, `fire_once`, `fire_all`.
            catch_up: How old a missed instant may be.
            catch_up_limit: How many missed instants `fire_all` makes up for, the newest ones.
            jitter: Spreads starts over this window, the same way on every node.
            starts_at: Instants before this aware datetime are skipped.
            ends_at: Instants from this aware datetime on are skipped.
            pause_after: Failures in a row after which its schedule is paused, until somebody resumes it.
            condition: A function that says whether a due run is wanted now; where it says no, the run is skipped.
            enabled: Whether it fires; admins may change that.
            on_demand: Whether tenants may create it by `POST /v1/jobs`.
            depends_on: Jobs after whose success it runs.
            on_lost: What happens when its node dies: `retry`, or `fail` for work that must not start twice.
            sensitive: Payload fields that are never shown.
            searchable: Payload fields that executions are found by.
            allow_money: Payload fields that may hold amounts of money.
            memory_limit: Bytes, for `executor="process"`.
            cpu_limit: CPU time, for `executor="process"`.

        Raises:
            DefinitionError: The name is taken or cannot be used, or an option is out of its range.
        """
        options = dict(locals())
        del options["self"]
        return JobDecorator(self.registry, self.commands_and_actor, options)

    def register(self, job: Registered) -> Registered:
        """Register an object with `config` and `execute`, or with the attributes of the scheduler document.

        Returns:
            The object itself.

        Raises:
            DefinitionError: It has no `execute`, no name, or a name that is taken.
        """
        self.registry.add_object(job)
        return job

    def report(self, name: str) -> Callable[[RowSource], RowSource]:
        """Register an async iterator of rows as the source of a report that `export_report` writes.

        Args:
            name: What `reportType` calls it.

        Example:
            >>> @app.report("orders")  # doctest: +SKIP
            ... async def orders(filters): ...
        """

        def decorate(rows: RowSource) -> RowSource:
            self.reports.add(Report(name, rows))
            return rows

        return decorate

    def _declare_built_in_jobs(self) -> None:
        @self.job("export_report", job_type="export", on_demand=True)
        async def export(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - registered
            """Write the rows of a report to a file that can be downloaded."""
            handler = export_report(reports=self.reports, storage=self.exports, world=self.world)
            return await handler(ctx, payload)

    # Asking for executions ------------------------------------------------------------------------------------------

    async def enqueue(
        self, name: str, payload: object = None, **options: Unpack[EnqueueOptions]
    ) -> ExecutionHandle[Any]:
        """Ask for one execution of the job of that name; see `JobHandle.enqueue`."""
        return (await self.enqueue_many(name, [payload], **options))[0]

    async def enqueue_many(
        self, name: str, payloads: Sequence[object], **options: Unpack[EnqueueOptions]
    ) -> list[ExecutionHandle[Any]]:
        """Ask for one execution a payload, all or none, in one statement."""
        commands, actor = self.commands_and_actor()
        ids = await commands.enqueue(name, payloads, **options)
        job = self.registry.get(name)
        return [ExecutionHandle(execution_id, job, commands, actor) for execution_id in ids]

    def commands_and_actor(self) -> tuple[ExecutionCommands, Actor]:
        """Return the commands on executions, and the application as their actor.

        Raises:
            NotRunningError: The application is neither connected nor running.
        """
        if self._commands is None:
            self.opened  # noqa: B018 - raises, with the way out
            raise AssertionError("an open store has its commands")
        return self._commands, Actor.application(self.settings.environment)

    @property
    def schedules(self) -> ScheduleCommands:
        """What may be done with schedules: pause, resume, edit, backfill.

        Raises:
            NotRunningError: The application is neither connected nor running.
        """
        opened = self.opened
        return ScheduleCommands(
            database=opened.database,
            signals=opened.signals,
            world=self.world,
            environment=self.settings.environment,
        )

    @cached_property
    def manager(self) -> CronJobManager:
        """The interface of the cron-tracking document: register, execute, history, status, trigger, heartbeat."""
        return CronJobManager(self.registry, self.commands_and_actor, lambda: self.opened.database)

    # Running --------------------------------------------------------------------------------------------------------

    @property
    def opened(self) -> OpenStore:
        """The open store.

        Raises:
            NotRunningError: The application is neither connected nor running.
        """
        if self._store is None:
            raise NotRunningError(
                "the application has no open store: wrap this in `async with app.running():` to run jobs here, or in "
                "`async with app.connected():` only to ask for them, or start `mainspring serve`"
            )
        return self._store

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Mainspring]:
        """Open the store without running anything: to enqueue, to read, to serve an API beside other nodes.

        An SQLite store is made and upgraded by itself.

        Raises:
            DatabaseUnreachableError: The database does not answer.
            SchemaMismatchError: PostgreSQL holds another version of the schema.
        """
        if self._store is not None:
            yield self
            return
        settings = self.settings
        configure_logging(settings.log_format, settings.log_level)
        store = self._store = await OpenStore.open(settings, self.world)
        self._commands = ExecutionCommands(
            database=store.database,
            registry=self.registry,
            signals=store.signals,
            world=self.world,
            environment=settings.environment,
        )
        before = running_app.get()
        running_app.set(self)
        try:
            yield self
        finally:
            running_app.set(before)
            self._store = self._commands = None
            await store.close()

    @asynccontextmanager
    async def running(self, *, roles: Sequence[str] = ROLES, grace: timedelta | None = None) -> AsyncGenerator[Node]:
        """Run this application's jobs inside any asyncio program for as long as the block lasts.

        Args:
            roles: What this node does; all by default.
            grace: How long running work may take at the end; by default `MAINSPRING_SHUTDOWN_GRACE`.

        Example:
            >>> async def main():
            ...     async with app.running():
            ...         await (await greet.enqueue()).wait()
        """
        async with self.connected():
            self.registry.refuse_circles()
            opened = self.opened
            firing = Firing.by(self.world, self.settings.environment)
            await opened.database.tx(
                lambda connection: registration.register(connection, firing, self.registry, version=program_version())
            )
            log_writer = LogWriter(log_format=self.settings.log_format)
            node = Node(
                settings=self.settings,
                database=opened.database,
                registry=self.registry,
                signals=opened.signals,
                harness=Harness(world=self.world, log_writer=log_writer),
                world=self.world,
                roles=roles,
                app_path=self.path,
                metrics=self.metrics,
            )
            try:
                await node.start()
                yield node
            finally:
                await node.stop((self.settings.shutdown_grace if grace is None else grace).total_seconds())
                log_writer.flush()

    @property
    def path(self) -> str | None:
        """Where a child process finds this application, `package.module:attribute`; None where it cannot."""
        if self._path is None:
            self._path = self.settings.app or _module_path(self)
        return self._path


def _module_path(app: Mainspring) -> str | None:
    for name, module in list(sys.modules.items()):
        if name == "__main__":
            continue
        for attribute, value in list(vars(module).items()):
            if value is app:
                return f"{name}:{attribute}"
    return None
