"""Dependencies of a handler: made for each attempt, closed after it, without a framework."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Made = TypeVar("Made")


class Provided:
    """The mark that `provided` leaves as a parameter's default."""

    def __init__(self, factory: Callable[[], object]) -> None:
        """Keep the factory."""
        self.factory = factory


@overload
def provided(factory: Callable[[], AbstractAsyncContextManager[Made]]) -> Made: ...
@overload
def provided(factory: Callable[[], AbstractContextManager[Made]]) -> Made: ...
@overload
def provided(factory: Callable[[], Awaitable[Made]]) -> Made: ...
@overload
def provided(factory: Callable[[], Made]) -> Made: ...
def provided(factory: Callable[[], Any]) -> Any:
    """Give a handler's keyword-only parameter a value made for each attempt.

    Args:
        factory: A function without arguments that returns the value, an awaitable of it, or a context manager that
            is entered before the handler and left after it, whatever the outcome.

    Example:
        >>> async def digest(ctx, *, mailer=provided(open_mailer)): ...  # doctest: +SKIP
    """
    return Provided(factory)


async def resolve(stack: AsyncExitStack, dependency: Provided) -> object:
    """Return the value of a dependency; what must be closed is put on `stack`."""
    made = dependency.factory()
    if inspect.isawaitable(made):
        made = cast("object", await made)
    if isinstance(made, AbstractAsyncContextManager):
        return await stack.enter_async_context(cast("AbstractAsyncContextManager[object]", made))
    if isinstance(made, AbstractContextManager):
        return stack.enter_context(cast("AbstractContextManager[object]", made))
    return made
