"""Reads whatever a source gives, a list or an iterator of either kind, in portions and without holding all of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sequence, Sized
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

from mainspring.builtin.user_calls import to_its_end
from mainspring.domain.write_door import to_jsonable
from mainspring.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mainspring.runtime.job_threads import JobThreads

_SKIPPED_AT_ONCE: Final = 1_000
_PAIR: Final = 2


class ItemReader(ABC):
    """A source that is being read.

    Attributes:
        total: How many items it has in all; None where it does not say.
    """

    total: int | None = None

    @abstractmethod
    async def take(self, most: int) -> Sequence[object]:
        """Return the next items, fewer than `most` only at the end."""

    async def skip(self, count: int) -> AsyncIterator[int]:
        """Read so many items and drop them, telling from time to time how many are left."""
        while count > 0 and await self.take(min(count, _SKIPPED_AT_ONCE)):
            count -= _SKIPPED_AT_ONCE
            yield max(count, 0)

    async def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Let the source let go of what it holds."""


class _SequenceReader(ItemReader):
    def __init__(self, items: Sequence[object]) -> None:
        self._items = items
        self._next = 0
        self.total = len(items)

    async def take(self, most: int) -> Sequence[object]:
        self._next += most
        return self._items[self._next - most : self._next]


class _AsyncReader(ItemReader):
    def __init__(self, items: AsyncIterable[object]) -> None:
        self._items = aiter(items)
        self.total = len(items) if isinstance(items, Sized) else None

    async def take(self, most: int) -> Sequence[object]:
        taken: list[object] = []
        while len(taken) < most:
            try:
                taken.append(await anext(self._items))
            except StopAsyncIteration:
                break
        return taken

    async def close(self) -> None:
        items: object = self._items
        if isinstance(items, AsyncGenerator):
            await cast("AsyncGenerator[object]", items).aclose()


class _ThreadReader(ItemReader):
    """Reads an iterator on the one thread of the source, because its next item may be a wait for a database."""

    def __init__(self, items: Iterable[object], thread: JobThreads) -> None:
        self._items: Iterator[object] = iter(items)
        self._thread = thread
        self.total = len(items) if isinstance(items, Sized) else None

    async def take(self, most: int) -> Sequence[object]:
        taken = await to_its_end(self._thread, lambda: list(islice(self._items, most)))
        return cast("list[object]", taken)

    async def close(self) -> None:
        items: object = self._items
        if isinstance(items, Generator):
            generator = cast("Generator[object, None, None]", items)
            await asyncio.shield(to_its_end(self._thread, generator.close))


@asynccontextmanager
async def reading(source: object, thread: JobThreads, *, whose: str) -> AsyncGenerator[ItemReader]:
    """Give a reader of what a source has returned, and close it however the reading ends.

    Args:
        source: What the source is, or has returned.
        thread: The one thread on which iterators that are not asynchronous are read.
        whose: Whose source it is, for messages.

    Raises:
        PermanentError: It cannot be iterated over.
    """
    reader = _reader_of(source, thread)
    if reader is None:
        raise PermanentError(
            f"the source of {whose} gave {type(source).__name__}: it must return a list or another iterable, or yield"
        )
    try:
        yield reader
    finally:
        await reader.close()


def with_cursor(yielded: object, *, whose: str, example: str) -> tuple[object, object]:
    """Return what a source yielded and the cursor behind it.

    Args:
        yielded: What is to be a pair of the two.
        whose: Whose source it is, for messages.
        example: How to yield it, for messages.

    Raises:
        PermanentError: It is no pair, or its cursor would not come back from JSON as it is.
    """
    if not isinstance(yielded, tuple) or len(pair := cast("tuple[object, ...]", yielded)) != _PAIR:
        raise PermanentError(f"the source of {whose} takes `after`, and yielded {yielded!r:.200}: write `{example}`")
    content, cursor = pair
    if to_jsonable(cursor) != cursor:
        raise PermanentError(
            f"the source of {whose} yielded the cursor {cursor!r:.200}, which would not come back from JSON as it is: "
            "make it text or a number"
        )
    return content, cursor


def _reader_of(source: object, thread: JobThreads) -> ItemReader | None:
    if isinstance(source, str | bytes):
        return None
    if isinstance(source, Sequence):
        return _SequenceReader(cast("Sequence[object]", source))
    if isinstance(source, AsyncIterable):
        return _AsyncReader(cast("AsyncIterable[object]", source))
    if isinstance(source, Iterable):
        return _ThreadReader(cast("Iterable[object]", source), thread)
    return None
