"""Processors: what `data_processing` does with each item of a source."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mainspring.errors import DefinitionError
from mainspring.jobs.user_function import UserFunction

ItemSource: TypeAlias = Callable[..., object] | Iterable[object]
"""Where items come from: a function that returns or yields them, or what can be iterated over again and again."""

MAX_CHUNK_SIZE: Final = 10_000
MAX_PARALLEL: Final = 256
DEFAULT_CHUNK_SIZE: Final = 100
DEFAULT_MAX_FAILURES: Final = 100

OFFERED_TO_EACH: Final = frozenset({"ctx", "params", "organization_id"})
OFFERED_TO_SOURCE: Final = OFFERED_TO_EACH | {"source", "after"}


@dataclass(slots=True)
class Processor:
    """A function for each item, and where the items come from.

    The function takes the item, and any of `ctx`, `params` and `organization_id` by name. A source function takes any
    of `source`, `params`, `organization_id`, `ctx` and `after` by name. One with `after` yields pairs of an item and
    its cursor, and goes on after that cursor when a crash interrupted it. Any other is read from its beginning again,
    and finished items are passed over.

    Args:
        name: The unique name, by which payloads ask for it.
        function: What is called for each item: a coroutine function on the event loop, any other on a thread.
        source: A function that returns or yields the items, or an iterable that can be read again, such as a list;
            None: the payload holds the items, as the list `source`.
        chunk_size: Items between two checkpoints, 1 to 10,000; a payload's `chunkSize` wins.
        parallel: How many items of a chunk are worked on at once, 1 to 256.
        max_failures: How many items may fail, at least 0: one more fails the execution.

    Raises:
        DefinitionError: A function has a signature that cannot be called, or a number is out of its range.

    Example:
        >>> async def greet(item: str) -> None: ...
        >>> Processor("greet", greet, source=["ada", "bob"], parallel=2).each.is_async
        True
    """

    name: str
    function: Callable[..., object]
    source: ItemSource | None = None
    chunk_size: int = DEFAULT_CHUNK_SIZE
    parallel: int = 1
    max_failures: int = DEFAULT_MAX_FAILURES
    each: UserFunction = field(init=False)
    made_by: UserFunction | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Refuse what could never run."""
        whose = f"processor {self.name!r}"
        example = "async def each(item): ..."
        self.each = UserFunction(
            self.function,
            whose=f"{whose}: its function",
            offered=OFFERED_TO_EACH,
            leading="the item",
            example=example,
        )
        if self.each.is_generator:
            raise DefinitionError(f"{whose}: its function yields, and it is to work on one item: write `{example}`")
        if callable(self.source):
            self.made_by = UserFunction(
                self.source,
                whose=f"{whose}: its source",
                offered=OFFERED_TO_SOURCE,
                example="async def items(source, organization_id): ...",
            )
        elif self.source is not None:
            _refuse_unrepeatable(self.source, whose)
        _refuse_outside(f"{whose}: chunk_size", self.chunk_size, least=1, most=MAX_CHUNK_SIZE)
        _refuse_outside(f"{whose}: parallel", self.parallel, least=1, most=MAX_PARALLEL)
        _refuse_outside(f"{whose}: max_failures", self.max_failures, least=0)

    @property
    def takes_params(self) -> bool:
        """Whether its function or its source uses `params` of a payload."""
        return "params" in self.each.takes or (self.made_by is not None and "params" in self.made_by.takes)

    @property
    def takes_source(self) -> bool:
        """Whether it uses `source` of a payload."""
        return self.source is None or (self.made_by is not None and "source" in self.made_by.takes)

    @property
    def yields_cursors(self) -> bool:
        """Whether its source yields pairs of an item and a cursor."""
        return self.made_by is not None and "after" in self.made_by.takes


def _refuse_unrepeatable(source: object, whose: str) -> None:
    if inspect.isawaitable(source) or inspect.isasyncgen(source) or isinstance(source, Iterator):
        raise DefinitionError(
            f"{whose}: its source can be read only once, and every execution reads it: pass the function that makes "
            "it, without calling it"
        )
    if isinstance(source, str | bytes) or not isinstance(source, Iterable):
        raise DefinitionError(
            f"{whose}: its source is {type(source).__name__}: it must be a function that yields the items, or a list"
        )


def _refuse_outside(what: str, value: int, *, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        allowed = f"at least {least}" if most is None else f"{least} to {most:,}"
        raise DefinitionError(f"{what} is {value}: it must be {allowed}")
