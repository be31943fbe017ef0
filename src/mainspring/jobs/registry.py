"""The jobs that this program can run: their definitions and handlers, by name."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, field
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, cast

from mainspring.domain.job import ExecutorKind, JobConfig, JobDefinition
from mainspring.domain.schedule import Cron, Every, OnStartup
from mainspring.errors import DefinitionError, JobNotFoundError
from mainspring.jobs.handler import Handler, bind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from mainspring.jobs.harness import Job


@dataclass(frozen=True, slots=True)
class RegisteredJob:
    """A definition with the handler that carries it out.

    Attributes:
        definition: What the job is.
        handler: How to call it.
        place: Where it was declared, `file:line`, for messages.
        is_object: Whether it was registered as an object with `config` (the platform-jobs document).
        written: What its author wrote, which the handler may wrap; None: nobody in this program.
        executor: How its attempts are carried out, which is asked for three times in each.
    """

    definition: JobDefinition
    handler: Handler
    place: str
    is_object: bool = False
    written: Callable[..., object] | None = None
    executor: ExecutorKind = field(init=False)

    def __post_init__(self) -> None:
        """Choose the executor."""
        object.__setattr__(self, "executor", self.handler.executor(self.definition.executor))


class JobRegistry:
    """Every job of one application.

    Attributes:
        built_in: The names of those that came with mainspring.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._jobs: dict[str, RegisteredJob] = {}
        self.built_in: Sequence[str] = ()

    def __len__(self) -> int:
        """Return how many jobs there are."""
        return len(self._jobs)

    def __iter__(self) -> Iterator[RegisteredJob]:
        """Iterate in the order of registration."""
        return iter(tuple(self._jobs.values()))

    def __contains__(self, name: str) -> bool:
        """Whether a job of that name is registered."""
        return name in self._jobs

    def add(
        self,
        definition: JobDefinition,
        function: Callable[..., object],
        *,
        written: Callable[..., object] | None = None,
        is_object: bool = False,
    ) -> RegisteredJob:
        """Register a function under a definition.

        Raises:
            DefinitionError: A job of that name exists, or the function's signature cannot be called.
        """
        if definition.executor is ExecutorKind.REMOTE:
            msg = (
                f"job {definition.name!r} asks for executor 'remote', which is for jobs that services register over "
                "HTTP: leave it out, or declare the job on a `RemoteService`"
            )
            raise DefinitionError(msg)
        place = _place(written or function)
        if existing := self._jobs.get(definition.name):
            msg = (
                f"two jobs are called {definition.name!r}: one at {existing.place}, one at {place}. "
                "A name identifies a job for ever; rename one of them"
            )
            raise DefinitionError(msg)
        handler = bind(function, job_name=definition.name)
        job = RegisteredJob(definition, handler, place, is_object, written or function)
        self._jobs[definition.name] = job
        return job

    def add_object(self, job: object, *, enabled: bool = True) -> RegisteredJob:
        """Register an object with `config` or a `name`, and with `execute`, or `run` of a `JobRunnable`.

        Args:
            job: The object.
            enabled: Whether it fires, where the object itself does not say.

        Raises:
            DefinitionError: It has neither method, no name, or a name that is taken.
        """
        written = getattr(job, "execute", None) or getattr(job, "run", None)
        execute = getattr(job, "execute", None) or _unwrapped(getattr(job, "run", None))
        if not callable(execute):
            msg = f"{type(job).__name__} cannot be registered: it has neither an `execute` nor a `run` method"
            raise DefinitionError(msg)
        is_object = isinstance(getattr(job, "config", None), JobConfig)
        return self.add(_definition_of(job, enabled=enabled), execute, written=written, is_object=is_object)

    def get(self, name: str) -> RegisteredJob:
        """Return the job of that name.

        Raises:
            JobNotFoundError: There is none; the message names the nearest ones.
        """
        try:
            return self._jobs[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._jobs, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            msg = f"no job is called {name!r}{hint}"
            raise JobNotFoundError(msg) from None

    def refuse_circles(self) -> None:
        """Refuse jobs that follow each other in a circle: the first run would never be the last.

        Raises:
            DefinitionError: There is a circle; the message names the jobs on it.
        """
        graph = {name: set(job.definition.depends_on) for name, job in self._jobs.items()}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = " after ".join(reversed(error.args[1]))
            raise DefinitionError(
                f"these jobs run after each other in a circle: {circle}; break it somewhere"
            ) from None

    def names(self) -> tuple[str, ...]:
        """Return all names in the order of registration."""
        return tuple(self._jobs)


def first_paragraph(documentation: str | None) -> str:
    """Return the first paragraph of a docstring on one line: the default description of a job."""
    return " ".join(inspect.cleandoc(documentation or "").split("\n\n", 1)[0].split())


def _place(function: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def _definition_of(job: object, *, enabled: bool) -> JobDefinition:
    config = getattr(job, "config", None)
    described = first_paragraph(type(job).__doc__)
    if isinstance(config, JobConfig):
        return JobDefinition(
            name=config.name,
            description=config.description or described,
            group=config.group,
            schedule=_schedule_of(config),
            run_on_startup=config.run_on_startup,
            enabled=config.enabled,
            retry=config.retry,
            timeout=config.timeout,
            thresholds=config.thresholds,
        )
    name = _attribute(job, "name")
    if not isinstance(name, str):
        msg = f"{type(job).__name__} cannot be registered: it has neither a `config` (JobConfig) nor a `name`"
        raise DefinitionError(msg)
    expression = _attribute(job, "cron_expression")
    return JobDefinition(
        name=name,
        display_name=cast("str", _attribute(job, "display_name") or ""),
        description=cast("str", _attribute(job, "description") or described),
        job_type=cast("str", _attribute(job, "job_type") or "job"),
        schedule=Cron(expression) if isinstance(expression, str) else None,
        enabled=bool(getattr(job, "enabled", enabled)),
    )


def _unwrapped(run: Callable[[], Awaitable[Job[Any]]] | None) -> Callable[[], Awaitable[object]] | None:
    """Return a handler that unwraps what a `JobRunnable` returns, so that its failure is the execution's."""
    if run is None:
        return None

    async def unwrapped() -> object:
        return (await run()).unwrap()

    return unwrapped


def _attribute(job: object, name: str) -> object:
    first, *others = name.split("_")
    camel = first + "".join(part.title() for part in others)
    return cast("Any", getattr(job, name, None) or getattr(job, camel, None))


def _schedule_of(config: JobConfig) -> Cron | Every | OnStartup | None:
    if config.schedule_interval_ms is None:
        return config.schedule
    if config.schedule is not None:
        msg = f"job {config.name!r}: it has both `schedule` and `schedule_interval_ms`; keep one"
        raise DefinitionError(msg)
    if config.schedule_interval_ms <= 0:
        msg = f"job {config.name!r}: schedule_interval_ms is {config.schedule_interval_ms}: it must be more than 0"
        raise DefinitionError(msg)
    return Every(timedelta(milliseconds=config.schedule_interval_ms))
