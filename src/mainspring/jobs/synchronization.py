"""Syncs: what `sync` brings over from a source to a target, from where it stopped the last time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mainspring.domain.rate import Rate
from mainspring.errors import DefinitionError
from mainspring.jobs.user_function import UserFunction

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BATCH_SIZE: Final = 10_000
DEFAULT_BATCH_SIZE: Final = 100

OFFERED_TO_TARGET: Final = frozenset({"ctx", "organization_id", "pace"})
OFFERED_TO_SOURCE: Final = OFFERED_TO_TARGET | {"after"}
_SOURCE_EXAMPLE: Final = "async def changes(after): yield records, cursor"
_TARGET_EXAMPLE: Final = "async def save(records): ..."


@dataclass(slots=True)
class Sync:
    """A source of changes, and what takes them in.

    The source is a generator, asynchronous or not. It takes `after`, the cursor behind which it begins (None: from the
    beginning of everything), and by name what it wants of `organization_id`, `ctx` and `pace`; it yields pairs of
    records, a list, and the cursor behind them, or None where it could not go on from there. The target takes a list of
    records, and by name what it wants of the same; taking in the same records again must change nothing.

    Args:
        name: The unique name, by which payloads ask for it.
        target: What takes a batch in: a coroutine function on the event loop, any other on a thread.
        source: What yields the changes.
        rate: How often the outside may be called within a run, as `100/m`; None: as often as it answers. A call is one
            step of the source, unless the source or the target take `pace`: they then await it before each call.
        batch_size: The target gets at least so many records at once, except for the last ones, 1 to 10,000. What the
            source has yielded together is never parted.

    Raises:
        DefinitionError: A function has a signature that cannot be called, or a number is out of its range.
    """

    name: str
    target: Callable[..., object]
    source: Callable[..., object]
    rate: str | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    reads: UserFunction = field(init=False)
    writes: UserFunction = field(init=False)
    pace: Rate | None = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what could never run."""
        whose = f"sync {self.name!r}"
        self.reads = UserFunction(
            self.source, whose=f"{whose}: its source", offered=OFFERED_TO_SOURCE, example=_SOURCE_EXAMPLE
        )
        self.writes = UserFunction(
            self.target,
            whose=f"{whose}: its target",
            offered=OFFERED_TO_TARGET,
            leading="the records",
            example=_TARGET_EXAMPLE,
        )
        if "after" not in self.reads.takes:
            raise DefinitionError(
                f"{whose}: its source does not take `after`, without which it would bring over everything each time: "
                f"write `{_SOURCE_EXAMPLE}`"
            )
        if self.writes.is_generator:
            raise DefinitionError(f"{whose}: its target yields, and it is to save records: write `{_TARGET_EXAMPLE}`")
        if not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise DefinitionError(f"{whose}: batch_size is {self.batch_size}: it must be 1 to {MAX_BATCH_SIZE:,}")
        self.pace = None if self.rate is None else Rate.parse(self.rate)
        for function in (self.reads, self.writes):
            self._refuse_vain_pace(function, whose)

    @property
    def paces_itself(self) -> bool:
        """Whether its functions say themselves when they are about to call the outside."""
        return "pace" in self.reads.takes | self.writes.takes

    def _refuse_vain_pace(self, function: UserFunction, whose: str) -> None:
        if "pace" not in function.takes:
            return
        if self.pace is None:
            raise DefinitionError(f"{whose}: a function takes `pace`, and there is no rate: add `rate='100/m'`")
        if not function.is_async:
            raise DefinitionError(f"{whose}: a function takes `pace`, which has to be awaited: make it `async def`")
