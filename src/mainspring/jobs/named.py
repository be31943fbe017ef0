"""What an application registers by name for the built-in jobs: processors and syncs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from mainspring.errors import DefinitionError, MainspringError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class NotRegisteredError(MainspringError):
    """Nothing of that kind is registered under that name."""

    code = "NOT_REGISTERED"


class HasName(Protocol):
    """Anything with a unique name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


Entry = TypeVar("Entry", bound=HasName)
UserCallable = TypeVar("UserCallable", bound="Callable[..., object]")


class NamedRegistry(Generic[Entry]):
    """What was registered of one kind, by name.

    Args:
        kind: What it is, for messages: `processor`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Register something.

        Raises:
            DefinitionError: The name is taken, or cannot be used.
        """
        if not _NAME.fullmatch(entry.name):
            raise DefinitionError(
                f"{self._kind} name {entry.name!r} cannot be used: a name begins with a letter or digit, goes on with "
                "letters, digits, dots, underscores or hyphens, and has at most 200 characters"
            )
        if entry.name in self._entries:
            raise DefinitionError(f"there are two {self._kind}s named {entry.name!r}: rename one of them")
        self._entries[entry.name] = entry

    def decorator(self, entry_of: Callable[[UserCallable], Entry]) -> Callable[[UserCallable], UserCallable]:
        """Return a decorator that registers what `entry_of` makes of a function, and leaves the function as it is."""

        def decorate(function: UserCallable) -> UserCallable:
            self.add(entry_of(function))
            return function

        return decorate

    def get(self, name: str) -> Entry:
        """Return what is registered under a name.

        Raises:
            NotRegisteredError: Nothing is; the message names what there is.
        """
        if name not in self._entries:
            known = ", ".join(sorted(self._entries)) or "none"
            raise NotRegisteredError(f"there is no {self._kind} {name!r:.200}; registered are: {known}")
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        """Go through all of them, in the order of registration."""
        return iter(self._entries.values())
