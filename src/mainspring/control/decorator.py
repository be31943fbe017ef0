"""`@app.job(...)`: from a function to a registered job and its typed handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from mainspring.control.handles import JobHandle
from mainspring.domain.job import ExecutorKind, JobDefinition, Misfire, OnLost, Overlap
from mainspring.errors import DefinitionError
from mainspring.jobs.registry import first_paragraph

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from enum import StrEnum

    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.access import Actor
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import JobRegistry

Payload = TypeVar("Payload")
Result = TypeVar("Result")
Payload_contra = TypeVar("Payload_contra", contravariant=True)
Returned_co = TypeVar("Returned_co", covariant=True)

_WORDS: Final[Mapping[str, type[StrEnum]]] = {
    "executor": ExecutorKind,
    "overlap": Overlap,
    "misfire": Misfire,
    "on_lost": OnLost,
}
_TUPLES: Final = ("depends_on", "sensitive", "searchable", "allow_money")


class TakesDefault(Protocol[Payload_contra, Returned_co]):
    """A handler whose payload has a default: its job may be enqueued without one."""

    def __call__(self, payload: Payload_contra = ..., /) -> Returned_co:
        """Carry out an attempt."""
        ...


class TakesContextAndDefault(Protocol[Payload_contra, Returned_co]):
    """A handler that takes the context, and a payload that has a default."""

    def __call__(self, ctx: JobContext, payload: Payload_contra = ..., /) -> Returned_co:
        """Carry out an attempt."""
        ...


class JobDecorator:
    """What `@app.job(...)` is before it meets its function.

    Args:
        registry: Where the job is entered.
        commands: Returns the commands that the handle uses.
        options: The fields of the definition; those that are None keep their default.
    """

    def __init__(
        self,
        registry: JobRegistry,
        commands: Callable[[], tuple[ExecutionCommands, Actor]],
        options: Mapping[str, Any],
    ) -> None:
        self._registry = registry
        self._commands = commands
        self._options = {name: value for name, value in options.items() if value is not None}

    @overload
    def __call__(
        self, function: TakesContextAndDefault[Payload, Awaitable[Result]]
    ) -> JobHandle[Payload | None, Result]: ...
    @overload
    def __call__(self, function: TakesContextAndDefault[Payload, Result]) -> JobHandle[Payload | None, Result]: ...
    @overload
    def __call__(self, function: TakesDefault[Payload, Awaitable[Result]]) -> JobHandle[Payload | None, Result]: ...
    @overload
    def __call__(self, function: TakesDefault[Payload, Result]) -> JobHandle[Payload | None, Result]: ...
    @overload
    def __call__(self, function: Callable[[JobContext, Payload], Awaitable[Result]]) -> JobHandle[Payload, Result]: ...
    @overload
    def __call__(self, function: Callable[[JobContext], Awaitable[Result]]) -> JobHandle[None, Result]: ...
    @overload
    def __call__(self, function: Callable[[], Awaitable[Result]]) -> JobHandle[None, Result]: ...
    @overload
    def __call__(self, function: Callable[[Payload], Awaitable[Result]]) -> JobHandle[Payload, Result]: ...
    @overload
    def __call__(self, function: Callable[[JobContext, Payload], Result]) -> JobHandle[Payload, Result]: ...
    @overload
    def __call__(self, function: Callable[[JobContext], Result]) -> JobHandle[None, Result]: ...
    @overload
    def __call__(self, function: Callable[[], Result]) -> JobHandle[None, Result]: ...
    @overload
    def __call__(self, function: Callable[[Payload], Result]) -> JobHandle[Payload, Result]: ...
    def __call__(self, function: Callable[..., Any]) -> JobHandle[Any, Any]:
        """Register the function and return its handle."""
        options: dict[str, Any] = {"description": first_paragraph(function.__doc__), **self._options}
        for option, words in _WORDS.items():
            if option in options:
                options[option] = _word(options["name"], option, options[option], words)
        for option in _TUPLES:
            options[option] = tuple(options.get(option, ()))
        options["notify"] = tuple(route.as_json() for route in options.get("notify", ()))
        job = self._registry.add(JobDefinition(**options), function)
        return JobHandle(job, function, self._commands)


def _word(job_name: str, option: str, word: str, words: type[StrEnum]) -> StrEnum:
    try:
        return words(word)
    except ValueError:
        known = ", ".join(words)
        raise DefinitionError(f"job {job_name!r}: {option} is {word!r}: it must be one of {known}") from None
