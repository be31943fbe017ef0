"""The composition root: an application declares its jobs on a `Mainspring`, which wires everything else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from mainspring.builtin.bulk_action import BulkAction
from mainspring.builtin.cleanup import Cleanup
from mainspring.builtin.export import export_report
from mainspring.builtin.notification import Notifier
from mainspring.builtin.processing import DataProcessing
from mainspring.builtin.reports import built_in_reports
from mainspring.builtin.self_check import Deployment, PlatformSelfCheck
from mainspring.builtin.sync import Synchronization
from mainspring.control.bulk_actions import BULK_ACTION
from mainspring.control.executions import ExecutionCommands
from mainspring.control.flows import Flows
from mainspring.control.handles import ExecutionHandle
from mainspring.control.manager import CronJobManager
from mainspring.control.registration import register_application
from mainspring.control.schedules import ScheduleCommands
from mainspring.declarations import Declarations
from mainspring.domain.access import Actor
from mainspring.egress.addresses import AllowList
from mainspring.errors import NotRunningError
from mainspring.jobs.job_run import Harness
from mainspring.locks.in_force import in_force
from mainspring.locks.keeper import LockKeeper
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.logs import configure_logging
from mainspring.observability.metrics import Metrics
from mainspring.observability.telemetry import begin_telemetry, hand_over_telemetry
from mainspring.redis_backend.lock_backend import open_lock_backend
from mainspring.reports.storage import ExportStorage, open_storage
from mainspring.runtime.import_path import import_path, leads_to
from mainspring.runtime.node import ROLES, Node
from mainspring.security.payload_cipher import PayloadCipher
from mainspring.settings import Settings, load_settings
from mainspring.store.upkeep.open_store import OpenStore
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mainspring.control.commands import Commands
    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.result import JobResult
    from mainspring.jobs.context import JobContext
    from mainspring.observability.sentry import Sentry
    from mainspring.runtime.early_fork import ForkedServer
    from mainspring.security.audit import Audit
    from mainspring.store.engine.database import Database
    from mainspring.world import World


class Mainspring(Declarations):
    """An application: its jobs, its settings, and the node that runs them.

    Args:
        world: Time, chance, threads and tasks; tests give a simulated one.
        **settings: Settings by name that win over `MAINSPRING_*` and `mainspring.toml`.

    Attributes:
        sentry: The connection to Sentry while the application is connected, if one is configured.
        api_url: The URL of this process's API, for its self-check. `serve` sets it; a program of your own that serves
            the API sets it itself.
        forked: What forks the children of this process's node, where it was forked off it; `serve` sets it.

    Example:
        >>> app = Mainspring(database_url="sqlite://")
        >>> @app.job("greet")
        ... async def greet(ctx: JobContext) -> str:
        ...     return "hello"
    """

    def __init__(self, *, world: World | None = None, **settings: Any) -> None:  # noqa: ANN401 - checked by the settings
        super().__init__(commands=self.commands_and_actor, settings=lambda: self.settings, world=lambda: self.world)
        self._overrides = settings
        self._world = world
        self.metrics = Metrics()
        self._store: OpenStore | None = None
        self._commands: ExecutionCommands | None = None
        self._path: str | None = None
        self.sentry: Sentry | None = None
        self.api_url: str | None = None
        self.forked: ForkedServer | None = None
        self._declare_built_in_jobs()
        self.registry.built_in = self.registry.names()

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
        return self._world or RealWorld(
            clock_shift=settings.clock_shift(), crash_at=settings.test_crash_at, seed=settings.test_seed
        )

    @cached_property
    def exports(self) -> ExportStorage:
        """The storage of files that `export_report` writes."""
        return open_storage(self.settings.export_dir)

    @cached_property
    def cipher(self) -> PayloadCipher:
        """What encrypts sensitive fields of payloads in the store."""
        return PayloadCipher.of(self.settings, self.world)

    def _declare_built_in_jobs(self) -> None:
        for report in built_in_reports(self._database):
            self.reports.add(report)

        @self.job("export_report", job_type="export", on_demand=True)
        async def export(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - registered
            """Write the rows of a report to a file that can be downloaded."""
            return await export_report(self.reports, self.exports, self.settings.environment, self.world)(ctx, payload)

        @self.job("notification", job_type="notification", on_demand=True)
        async def notify(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - registered
            """Tell a person of an organization, or a channel that is open to it, something."""
            async with self.connected():  # it is already, save in the child process of an attempt
                notifier = Notifier(self.opened, self.settings.environment, self.recipients)
                return await notifier.carry_out(ctx, payload)

        @self.job("data_processing", job_type="data_processing", on_demand=True, timeout=timedelta(hours=24))
        async def process(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> JobResult:  # pyright: ignore[reportUnusedFunction] - registered
            """Work on every item of a source, in chunks that are not done again after a crash."""
            return await DataProcessing(self.processors, self.world).carry_out(ctx, payload)

        @self.job("sync", job_type="sync", on_demand=True)
        async def synchronize(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> JobResult:  # pyright: ignore[reportUnusedFunction] - registered
            """Bring over what has changed since the last time, from one system to another."""
            async with self.connected():  # as above
                run = Synchronization(
                    self.syncs, self.opened.database, self.settings.environment, self.cipher, self.world
                )
                return await run.carry_out(ctx, payload)

        @self.job("cleanup", job_type="cleanup", on_demand=True)
        async def clean_up(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - registered
            """Remove what is old of an organization: executions, log lines, or the files of exports."""
            async with self.connected():  # as above
                run = Cleanup(self.opened.database, self.exports, self.settings, self.world)
                return await run.carry_out(ctx, payload)

        @self.job(BULK_ACTION, job_type="bulk_action", timeout=timedelta(hours=24))
        async def change_many(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> JobResult:  # pyright: ignore[reportUnusedFunction] - registered
            """Cancel or retry all executions that a filter of the dashboard finds."""
            async with self.connected():  # as above
                return await BulkAction(self.opened, self.settings, self.world).carry_out(ctx, payload)

        self.register(PlatformSelfCheck(self.deployment))

    def deployment(self) -> Deployment:
        """Return what a self-check of this application looks at."""
        url = self.api_url or self.settings.public_url
        return Deployment(self.settings, self.world, self._database, self.variables, self.checks, url)

    # Asking for executions ------------------------------------------------------------------------------------------

    async def enqueue(
        self, name: str, payload: object = None, **options: Unpack[EnqueueOptions]
    ) -> ExecutionHandle[Any]:
        """Ask for one execution of the job of that name; see `JobHandle.enqueue`."""
        return (await self.enqueue_many(name, [payload], **options))[0]

    async def enqueue_many(
        self, name: str, payloads: Sequence[object], **options: Unpack[EnqueueOptions]
    ) -> list[ExecutionHandle[Any]]:
        """Ask for one execution for each payload, all or none, in one statement."""
        commands, actor = self.commands_and_actor()
        ids = await commands.enqueue(name, payloads, **options)
        job = await commands.job(name)
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

    def commands(self, audit: Audit) -> Commands:
        """Return all that may be changed, for a door: each doing of an actor is written to its audit.

        Raises:
            NotRunningError: The application is neither connected nor running.
        """
        from mainspring.control.commands import Commands  # a node without doors never loads it

        return Commands(
            self.opened, self.registry, settings=self.settings, world=self.world, cipher=self.cipher, audit=audit
        )

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

    @property
    def flows(self) -> Flows:
        """Chains of executions, and fan-out with a join."""
        commands, actor = self.commands_and_actor()
        return Flows(commands, actor, self.opened, world=self.world)

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
        self.sentry = begin_telemetry(settings)
        store = self._store = await OpenStore.open(settings, self.world)
        self._commands = ExecutionCommands(
            database=store.database,
            registry=self.registry,
            signals=store.signals,
            world=self.world,
            environment=settings.environment,
            cipher=self.cipher,
            webhooks_may_reach=AllowList.read(settings.egress_allow),
        )
        try:
            async with in_force(self.lock_keeper()):
                yield self
        finally:
            self._store = self._commands = None
            await store.close()
            await hand_over_telemetry(self.world)

    def lock_keeper(self) -> LockKeeper:
        """Return what keeps the locks of `@distributed_lock`: on the open store, or on a connection of its own."""
        opened = self._store.database if self._store is not None else None
        return LockKeeper(self.world, lambda: open_lock_backend(self.settings, self.world, opened))

    @asynccontextmanager
    async def _database(self) -> AsyncGenerator[Database]:
        async with self.connected():
            yield self.opened.database

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
            await register_application(
                opened.database,
                self.registry,
                settings=self.settings,
                world=self.world,
                cipher=self.cipher,
                path=self.path if leads_to(self.path, self) else None,  # the setting may name another program
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
                exports=self.exports,
                cipher=self.cipher,
                sentry=self.sentry,
                api_url=lambda: self.api_url,
                forked=self.forked,
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
            self._path = self.settings.app or import_path(self)
        return self._path
