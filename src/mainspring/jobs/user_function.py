"""A function of a job's author that takes, by name, what it wants of what it is offered."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class UserFunction:
    """A function whose signature was checked when it was declared.

    Args:
        function: The function, asynchronous or not.
        whose: What it belongs to and what it does there, for messages: `processor 'resize': its function`.
        offered: The names of what it may take.
        leading: What its first positional parameter takes, for messages; None: nothing is given by position.
        example: How to write one, for messages.

    Raises:
        DefinitionError: It cannot be called with that, or it asks for something that nobody can give.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        whose: str,
        offered: Collection[str],
        leading: str | None = None,
        example: str,
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"{whose} is {function!r:.100}, which cannot be called: write `{example}`")
        self.function = function
        parameters = list(inspect.signature(function).parameters.values())
        if leading is not None:
            first = parameters.pop(0) if parameters else None
            if first is None or first.kind not in _POSITIONAL or first.name in offered:
                raise DefinitionError(f"{whose} has no parameter for {leading}: write `{example}`")
        strange = [
            each.name
            for each in parameters
            if each.name not in offered and each.default is each.empty and each.kind not in _VARIABLE
        ]
        if strange:
            known = ", ".join(sorted(offered))
            raise DefinitionError(
                f"{whose} asks for {', '.join(map(repr, strange))}, which nobody can give: it may take "
                f"{f'{leading}, and then ' if leading else ''}by name {known}; give others a default, or write "
                f"`{example}`"
            )
        self.takes = frozenset(each.name for each in parameters if each.name in offered)

    @property
    def is_generator(self) -> bool:
        """Whether calling it runs nothing yet, and gives an iterator of either kind."""
        return inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop: a coroutine function, or an asynchronous generator."""
        return inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)
