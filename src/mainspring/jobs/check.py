"""Health checks of an application's own, run by `platform-self-check` and `mainspring doctor`."""

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
    """A health check.

    The function takes no arguments. It passes by returning, with a text about what it found if it likes, and fails by
    raising: the exception's text is shown.

    Args:
        name: The unique name; the self-check calls it `check-<name>`.
        function: What is called: a coroutine function on the event loop, any other on a thread.
        timeout: How long it may take, at most 5 minutes; longer is a failure.

    Raises:
        DefinitionError: The function has parameters, or the timeout is out of its range.

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
