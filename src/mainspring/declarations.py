"""What an application declares: its jobs, reports, processors and syncs, before anything runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeVar, Unpack

from mainspring.alerts.recipients import Recipients
from mainspring.control.decorator import JobDecorator
from mainspring.control.templates import Templates
from mainspring.domain.job import DEFAULT_CATCH_UP, DEFAULT_CATCH_UP_LIMIT, DEFAULT_QUEUE, DEFAULT_TIMEOUT
from mainspring.jobs.check import DEFAULT_CHECK_TIMEOUT, Check
from mainspring.jobs.command import Command
from mainspring.jobs.named import NamedRegistry
from mainspring.jobs.processor import DEFAULT_CHUNK_SIZE, DEFAULT_MAX_FAILURES, Processor
from mainspring.jobs.registry import JobRegistry
from mainspring.jobs.synchronization import DEFAULT_BATCH_SIZE, Sync
from mainspring.jobs.variable import Variables
from mainspring.reports.source import Report, ReportRegistry
from mainspring.reports.sql import SqlReport
from mainspring.runtime.command_job import command_handler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from mainspring.control.executions import ExecutionCommands
    from mainspring.control.handles import JobHandle
    from mainspring.domain.access import Actor
    from mainspring.domain.circuit_breaker import CircuitBreaker
    from mainspring.domain.job import Schedule
    from mainspring.domain.result import JobResult
    from mainspring.domain.retry import Retry
    from mainspring.domain.route import Route
    from mainspring.domain.thresholds import Thresholds
    from mainspring.jobs.command import CommandOptions
    from mainspring.jobs.processor import ItemSource
    from mainspring.reports.source import ReportRows
    from mainspring.settings import Settings
    from mainspring.world import World

Registered = TypeVar("Registered")
RowSource = TypeVar("RowSource", bound="ReportRows")
UserCallable = TypeVar("UserCallable", bound="Callable[..., object]")


class Declarations:
    """The part of an application that takes its declarations: jobs, reports, processors, syncs, checks, variables.

    Args:
        commands: Returns the commands on executions, and the application as their actor, once it is connected.
        settings: Returns the settings, once they are needed.
        world: Returns time, chance, threads and tasks, once they are needed.
    """

    def __init__(
        self,
        *,
        commands: Callable[[], tuple[ExecutionCommands, Actor]],
        settings: Callable[[], Settings],
        world: Callable[[], World],
    ) -> None:
        self._commands_of = commands
        self._settings_of = settings
        self._world_of = world
        self.registry = JobRegistry()
        self.reports = ReportRegistry()
        self.processors = NamedRegistry[Processor]("processor")
        self.syncs = NamedRegistry[Sync]("sync")
        self.checks = NamedRegistry[Check]("check")
        self.variables = Variables()
        self.variable = self.variables.declare
        self.recipients = Recipients()
        self.templates = Templates(self.registry, commands)
        self.template = self.templates.declare

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
        breaker: CircuitBreaker | None = None,
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
        critical: bool = False,
        notify: Sequence[Route] = (),
        memory_limit: int | None = None,
        cpu_limit: timedelta | None = None,
    ) -> JobDecorator:
        """Declare a job.

        Args:
            name: The unique name, `[A-Za-z0-9][A-Za-z0-9._-]{0,199}`. History, overrides and permissions hang on it.
            schedule: When it fires: `Cron`, `Every` or `OnStartup`; None: it runs only on request.
            schedule_payload: The payload of scheduled runs; by default the payload type's defaults.
            display_name: The name that people see; by default `name`.
            description: One sentence; by default the first paragraph of the docstring.
            group: A label to sort and filter by, such as the team.
            job_type: The kind of job, such as `export`; filters of the APIs use it.
            queue: Which queue its executions wait in.
            retry: How often and how soon a failure is retried; None: three times on demand, never when scheduled.
            timeout: How long one attempt may take.
            thresholds: The limits whose breach opens an alert.
            executor: `async`, `thread`, `process` or `dask`; `auto` is async for coroutine functions, else a thread.
            max_running: How many may run at once, over all nodes; by default one with a schedule, else no limit.
            concurrency_key: The key that `max_running` and `rate_limit` are counted for.
            rate_limit: How many may start in any period, over all nodes: `100/m`, `5/10s`; a tenth at once.
            breaker: Stops starting it, on all nodes, while it keeps failing for reasons that may pass.
            overlap: What a due run does while the previous one still runs: `skip`, `queue`, `cancel_running`, `allow`.
            misfire: What becomes of instants that no node was up for: `skip`, `fire_once`, `fire_all`.
            catch_up: How old a missed instant may be to be made up for.
            catch_up_limit: How many missed instants `fire_all` makes up for; the newest ones count.
            jitter: Delays each start by up to this long; the delay of a job is the same on every node.
            starts_at: Instants before this aware datetime are skipped.
            ends_at: Instants from this aware datetime on are skipped.
            pause_after: Failures in a row after which its schedule is paused until somebody resumes it.
            condition: A function that says whether a due run should happen now; if not, the run is skipped.
            enabled: Whether its schedule fires; admins can change this without a deployment.
            on_demand: Whether tenants may create it by `POST /v1/jobs`.
            depends_on: Jobs after whose success it runs.
            on_lost: What becomes of it when its node dies: `retry`, or `fail` for work that must not start twice.
            sensitive: Payload fields that are never shown.
            searchable: Payload fields by which executions can be searched.
            allow_money: Payload fields that may hold amounts of money.
            critical: Whether disabling it in the dashboard takes typing its name and a reason.
            notify: Routes for its alerts, beside those of the settings: `[Route("slack", "#billing")]`.
            memory_limit: Bytes that its process may use; only with `executor="process"`.
            cpu_limit: CPU time that its process may use; only with `executor="process"`.

        Raises:
            DefinitionError: The name is taken or cannot be used, or an option is out of its range.
        """
        options = dict(locals())
        del options["self"]
        return JobDecorator(self.registry, self._commands_of, options)

    def command(
        self, name: str, command: Command | str | Sequence[str], **options: Unpack[CommandOptions]
    ) -> JobHandle[None, JobResult]:
        """Declare a job that runs a program; see `Command`. If its node dies, the program is not started again.

        Example:
            >>> app.command("backup", ["pg_dump", "--file", "shop.sql", "shop"])  # doctest: +SKIP
        """
        given = command if isinstance(command, Command) else Command(command)
        own: CommandOptions = {"description": given.description, "on_lost": "fail"}
        return self.job(name, job_type="command", **(own | options))(command_handler(given, self._world_of))

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
        """Register an async iterator of rows as the source of a report that `export_report` writes; see `Report`.

        A source whose rows belong to organizations has to filter by `caller.organization_id` itself.

        Args:
            name: What `reportType` calls it.

        Example:
            >>> @app.report("orders")  # doctest: +SKIP
            ... async def orders(filters: dict[str, Any], caller: ReportCaller): ...
        """

        def decorate(rows: RowSource) -> RowSource:
            self.reports.add(Report(name, rows))
            return rows

        return decorate

    def sql_report(self, name: str, statement: str, *, database_url: str | None = None, shared: bool = False) -> None:
        """Register a statement as the source of a report; see `SqlReport`.

        Args:
            name: What `reportType` calls it.
            statement: One `SELECT` that compares a column with `:organization_id`.
            database_url: Where it runs; None: in the database of the store.
            shared: Whether the rows belong to all organizations alike.
        """
        self.reports.add(
            SqlReport(
                name,
                statement,
                database_url=lambda: database_url or self._settings_of().database_url,
                world=self._world_of,
                shared=shared,
            )
        )

    def processing(
        self,
        name: str,
        *,
        source: ItemSource | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        parallel: int = 1,
        max_failures: int = DEFAULT_MAX_FAILURES,
    ) -> Callable[[UserCallable], UserCallable]:
        """Register a function that `data_processing` calls for each item of a source; see `Processor`.

        Example:
            >>> @app.processing("resize", source=images, parallel=8)  # doctest: +SKIP
            ... async def resize(image: Image) -> None: ...
        """
        return self.processors.decorator(
            lambda function: Processor(name, function, source, chunk_size, parallel, max_failures)
        )

    def sync(
        self, name: str, *, source: Callable[..., object], rate: str | None = None, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Callable[[UserCallable], UserCallable]:
        """Register the function that stores what the `sync` job reads from a source; see `Sync`.

        Example:
            >>> @app.sync("contacts", source=changed_contacts, rate="100/m")  # doctest: +SKIP
            ... async def save(contacts: list[Contact], organization_id: str) -> None: ...
        """
        return self.syncs.decorator(lambda target: Sync(name, target, source, rate, batch_size))

    def check(self, name: str, *, timeout: timedelta = DEFAULT_CHECK_TIMEOUT) -> Callable[[UserCallable], UserCallable]:
        """Register a health check of your own for `platform-self-check` and `mainspring doctor`; see `Check`.

        Example:
            >>> @app.check("stock")  # doctest: +SKIP
            ... async def stock() -> str: ...
        """
        return self.checks.decorator(lambda function: Check(name, function, timeout))
