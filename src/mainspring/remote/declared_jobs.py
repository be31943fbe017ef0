"""What a service declares: its jobs, before anything is registered or runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mainspring.domain.job import DEFAULT_CATCH_UP, DEFAULT_QUEUE, DEFAULT_TIMEOUT, JobDefinition, Misfire, Overlap
from mainspring.domain.schedule import Every
from mainspring.domain.thresholds import Thresholds as JobThresholds
from mainspring.errors import DefinitionError
from mainspring.jobs.registry import JobRegistry, first_paragraph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mainspring.domain.circuit_breaker import CircuitBreaker
    from mainspring.domain.job import Schedule
    from mainspring.domain.retry import Retry
    from mainspring.domain.thresholds import Thresholds

Function = TypeVar("Function", bound="Callable[..., object]")
Declared = TypeVar("Declared")


class ServiceJobs:
    """The jobs of a service.

    Attributes:
        registry: All of them, by name.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self.registry = JobRegistry()

    def job(
        self,
        name: str,
        *,
        schedule: Schedule | None = None,
        display_name: str = "",
        description: str | None = None,
        group: str = "default",
        job_type: str = "job",
        queue: str = DEFAULT_QUEUE,
        retry: Retry | None = None,
        breaker: CircuitBreaker | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        thresholds: Thresholds | None = None,
        max_running: int | None = None,
        rate_limit: str | None = None,
        overlap: Literal["skip", "queue", "cancel_running", "allow"] = "skip",
        misfire: Literal["skip", "fire_once", "fire_all"] = "fire_once",
        catch_up: timedelta = DEFAULT_CATCH_UP,
        jitter: timedelta = timedelta(0),
        enabled: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> Callable[[Function], Function]:
        """Declare a job of this service, as `@app.job` declares one of an application.

        The handler is called in the same way: with `ctx`, `payload`, both or neither, and dependencies that are
        `provided(...)`. One that is not asynchronous runs on a thread of its own. `ctx.log` writes to the log of this
        service, and `ctx.checkpoint` is refused: what is to outlive an attempt is kept in the service's own database.

        Args:
            name: The unique name, which begins with the prefix of the service's key.
            schedule: When it fires: `Cron`, or `OnStartup` of the scheduler, and no `Every`; None: only when asked for.
            display_name: What people read; by default the name.
            description: One sentence; by default the first paragraph of the docstring.
            group: A label that people sort by.
            job_type: Another label.
            queue: Which queue its executions wait in.
            retry: When failures are tried again; None: never when scheduled or triggered.
            breaker: When it stops being started because what it needs is down; None: never.
            timeout: The longest attempt.
            thresholds: The limits that open alerts.
            max_running: How many run at once.
            rate_limit: How many may start in any period: `100/m`, `5/10s`.
            overlap: What a schedule does while the last run goes on: `skip`, `queue`, `cancel_running`, `allow`.
            misfire: What it does about missed instants: `skip`, `fire_once`, `fire_all`.
            catch_up: How old a missed instant may be.
            jitter: Spreads starts over this window.
            enabled: Whether it fires from its first registration on; then it is the admins' to say.
            config: Anything JSON that comes back as `ctx.config`; no secrets.

        Returns:
            A decorator that registers the function and returns it as it was.

        Raises:
            DefinitionError: The name is taken or cannot be used, or an option is out of its range.
        """

        def decorate(function: Function) -> Function:
            definition = JobDefinition(
                name=name,
                display_name=display_name,
                description=first_paragraph(function.__doc__) if description is None else description,
                group=group,
                job_type=job_type,
                queue=queue,
                schedule=schedule,
                enabled=enabled,
                retry=retry,
                breaker=breaker,
                timeout=timeout,
                thresholds=thresholds or JobThresholds(),
                max_running=max_running,
                rate_limit=rate_limit,
                overlap=Overlap(overlap),
                misfire=Misfire(misfire),
                catch_up=catch_up,
                jitter=jitter,
                config=dict(config or {}),
            )
            self.registry.add(_registrable(definition), function)
            return function

        return decorate

    def register(self, job: Declared) -> Declared:
        """Declare an object as a job: with the attributes of the scheduler document and `execute(context)`.

        Args:
            job: The object: `name`, `cron_expression` or `cronExpression`, `description` and so on. It is disabled at
                first, unless it says `enabled`.

        Returns:
            The object itself.

        Raises:
            DefinitionError: It has no `execute`, no name, a name that is taken, or an interval as its schedule.

        Example:
            >>> class WeeklyTrendingDigest:
            ...     name = "weekly-trending-digest"
            ...     cronExpression = "0 9 * * MON"
            ...
            ...     async def execute(self, context: JobContext) -> JobResult: ...
            >>> service.register(WeeklyTrendingDigest())  # doctest: +SKIP
        """
        _registrable(self.registry.add_object(job, enabled=False).definition)
        return job


def _registrable(definition: JobDefinition) -> JobDefinition:
    """Return a definition, if a scheduler can be told of it by HTTP (the scheduler document knows cron expressions)."""
    if isinstance(definition.schedule, Every):
        raise DefinitionError(
            f"job {definition.name!r}: the schedule of a service's job is a `Cron` or `OnStartup`; write an interval "
            "as `Cron('*/5 * * * *')`"
        )
    if definition.run_on_startup:
        raise DefinitionError(
            f"job {definition.name!r}: a service's job cannot have `run_on_startup` beside its schedule; declare a "
            "second job with `OnStartup()`"
        )
    return definition
