"""Which function of an author is being called as the body of a run, for decorators that want to know.

A decorated function that is the body of a run may end the run; the same function called as a helper may not.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.jobs.context import JobContext


class Call(NamedTuple):
    """The call of a run's body.

    Attributes:
        function: What is called, with whatever decorates it.
        context: What its handler was given; None where the run is no attempt at an execution.
    """

    function: Callable[..., object]
    context: JobContext[Any] | None = None

    def is_of(self, function: Callable[..., object]) -> bool:
        """Whether that function is the body, or what its author has decorated to be the body."""
        return authors_function(self.function) is authors_function(function)


current_call: Final[ContextVar[Call | None]] = ContextVar("mainspring_current_call", default=None)
"""The body of the run that the caller is part of."""


def authors_function(function: Callable[..., object]) -> Callable[..., object]:
    """Return the function that its author wrote, of a partial, a method, a decorated function or a callable object."""
    while isinstance(function, functools.partial):
        function = cast("Callable[..., object]", function.func)
    if not inspect.isroutine(function):
        function = type(function).__call__
    return inspect.unwrap(getattr(function, "__func__", function))
