"""Checks: questions of an application's own that `platform-self-check` and `mainspring doctor` ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.errors import DefinitionError
from mainspring.jobs.user_function import UserFunction

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_CHECK_TIMEOUT: Final = timedelta(seconds=10)
LONGEST_CHECK: Final = timedelta(minutes=5)


@dataclass(slots=True)
class Check:
    """A function that looks whether something is well.

    It takes nothing. It returns when all is well, and may return a text that says what it found; where something is
    wrong it raises, and the text of the exception says what.

    Args:
        name: The unique name; the self-check calls it `check-<name>`.
        function: What is called: a coroutine function on the event loop, any other on a thread.
        timeout: How long it may take, at most 5 minutes; then it has failed.

    Raises:
        DefinitionError: The function asks for something, or the timeout is out of its range.

    Example:
        >>> def stock() -> str:
        ...     return "312 articles"
        >>> Check("stock", stock).asked.is_async
        False
    """

    name: str
    function: Callable[..., object]
    timeout: timedelta = DEFAULT_CHECK_TIMEOUT
    asked: UserFunction = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what could never be asked."""
        whose = f"check {self.name!r}"
        example = f"async def {self.name.replace('-', '_').replace('.', '_')}() -> str | None: ..."
        self.asked = UserFunction(self.function, whose=f"{whose}: its function", offered=(), example=example)
        if self.asked.is_generator:
            raise DefinitionError(f"{whose}: its function yields, and it is to answer once: write `{example}`")
        if not timedelta(0) < self.timeout <= LONGEST_CHECK:
            raise DefinitionError(
                f"{whose}: timeout is {self.timeout}: it must be more than 0 and at most {LONGEST_CHECK}"
            )
