"""The `CronJobManager` of the cron-tracking document: register, execute, history, status, trigger, heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mainspring.control.decorator import JobDecorator
from mainspring.domain.execution import Status, Trigger
from mainspring.domain.schedule import Cron
from mainspring.errors import ExecutionFailedError, NotRunningError
from mainspring.store.queue import progress_reports
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from uuid import UUID

    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.access import Actor
    from mainspring.domain.execution import Execution
    from mainspring.domain.job import Schedule
    from mainspring.domain.retry import Retry
    from mainspring.domain.thresholds import Thresholds
    from mainspring.jobs.registry import JobRegistry
    from mainspring.store.engine.database import Database


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of a job's history, the newest run first."""

    executions: tuple[Execution, ...]
    total: int
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands.

    Attributes:
        name: The job.
        running: Whether a run is under way.
        last: Its latest run, ended or not; None: it never ran.
    """

    name: str
    running: bool
    last: Execution | None


class CronJobManager:
    """Registers jobs with a schedule and looks after them by name.

    Args:
        registry: Where jobs are entered.
        commands: Returns the commands on executions, and the application as their actor.
        database: Returns the open database.
    """

    def __init__(
        self,
        registry: JobRegistry,
        commands: Callable[[], tuple[ExecutionCommands, Actor]],
        database: Callable[[], Database],
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._database = database

    def register(
        self,
        name: str,
        group: str,
        schedule: str | Schedule,
        handler: Callable[..., Any],
        *,
        timeout: timedelta | None = None,
        retry: Retry | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        """Declare a job that fires by `schedule`.

        Args:
            name: The unique name.
            group: A label that people sort by.
            schedule: A cron expression in UTC, or a `Cron`, `Every` or `OnStartup`.
            handler: What runs.
            timeout: The longest attempt; 1 hour by default.
            retry: When failures are tried again; none by default.
            thresholds: The limits that open alerts.

        Raises:
            CronError: The expression cannot be read or can never fire.
            DefinitionError: The name is taken or cannot be used.
        """
        options = {
            "name": name,
            "group": group,
            "schedule": Cron(schedule) if isinstance(schedule, str) else schedule,
            "timeout": timeout,
            "retry": retry,
            "thresholds": thresholds,
        }
        JobDecorator(self._registry, self._commands, options)(handler)

    async def trigger(self, name: str, *, user_id: str | None = None) -> UUID:
        """Ask for a run now, by hand, and return the execution's id."""
        commands, _ = self._commands()
        options: dict[str, Any] = {"user_id": user_id} if user_id else {}
        return (await commands.enqueue(name, [None], trigger=Trigger.ADMIN, **options))[0]

    async def execute(self, name: str, *, timeout: timedelta | None = None) -> Execution:
        """Run a job now and return its execution when it has ended.

        Raises:
            ExecutionFailedError: It failed or was cancelled: a consumer must see every failure.
            WaitTimeoutError: It has not ended after `timeout`; it goes on.
        """
        commands, actor = self._commands()
        execution_id = (await commands.enqueue(name, [None], trigger=Trigger.SYSTEM))[0]
        execution = await commands.wait(actor.scope, execution_id, timeout=timeout)
        if execution.status in (Status.FAILED, Status.CANCELLED):
            told = execution.error_message or "nothing was said"
            raise ExecutionFailedError(
                f"job {name!r}, execution {execution_id}, is {execution.status}: {told}", status=execution.status.value
            )
        return execution

    async def history(self, name: str, *, page: int = 1, page_size: int = 25) -> HistoryPage:
        """Return a page of a job's runs, the newest first.

        Args:
            name: The job.
            page: From 1.
            page_size: 1 to 100.
        """
        _, actor = self._commands()
        size = max(1, min(100, page_size))
        skip = (max(1, page) - 1) * size
        wanted = Filter(job_name=name)
        found, total = await self._database().read(
            lambda connection: (
                executions.find(connection, actor.scope, wanted, most=skip + size),
                executions.count(connection, actor.scope, wanted),
            )
        )
        return HistoryPage(tuple(found[skip:]), total, max(1, page), size)

    async def status(self, name: str) -> JobState:
        """Return how a job stands."""
        _, actor = self._commands()
        found = await self._database().read(
            lambda connection: (
                executions.find(connection, actor.scope, Filter(job_name=name), most=1),
                executions.find(connection, actor.scope, Filter(job_name=name, status=Status.RUNNING), most=1),
            )
        )
        latest, running = found
        return JobState(name, bool(running), latest[0] if latest else None)

    async def heartbeat(self, execution_id: UUID) -> None:
        """Say that a running execution is alive.

        Raises:
            NotRunningError: It is not running.
        """
        commands, actor = self._commands()
        execution = await commands.get(actor.scope, execution_id)
        if execution.status is not Status.RUNNING:
            raise NotRunningError(f"execution {execution_id} is {execution.status}: only a running one has a heartbeat")
        await self._database().tx(
            lambda connection: progress_reports.write(connection, beats=[(execution.id, execution.fence)])
        )
