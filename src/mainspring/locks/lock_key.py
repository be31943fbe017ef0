"""Keys of locks, literal or filled in from the arguments of a call."""

from __future__ import annotations

import inspect
import string
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import DefinitionError, LockUsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_KEY_CHARACTERS: Final = 500


def checked_key(key: str) -> str:
    """Return a key, if every backend can hold it.

    Raises:
        LockUsageError: It is empty, too long, or holds what cannot be printed.
    """
    if 0 < len(key) <= MAX_KEY_CHARACTERS and key.isprintable():
        return key
    raise LockUsageError(
        f"the key of a lock is {key[:80]!r}: it must have 1 to {MAX_KEY_CHARACTERS} characters, all printable"
    )


class KeyTemplate:
    """The key of a decorated function, such as `sync:{org}`, with the arguments of a call in the place of names.

    Args:
        text: The key, with names of parameters in braces; `{payload.org}` and `{payload[org]}` reach into them.
        function: Whose parameters they are.

    Raises:
        DefinitionError: It names what the function does not take, or cannot be read.

    Example:
        >>> KeyTemplate("sync:{org}", lambda org, full=False: None).fill(("acme",), {})
        'sync:acme'
    """

    def __init__(self, text: str, function: Callable[..., object]) -> None:
        self._text = text
        self._signature = inspect.signature(function)
        self._takes_any_name = any(
            each.kind is inspect.Parameter.VAR_KEYWORD for each in self._signature.parameters.values()
        )
        self._names = self._read_names(getattr(function, "__qualname__", repr(function)))

    def _read_names(self, whose: str) -> Sequence[str]:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(self._text) if field is not None]
        except ValueError as error:
            raise DefinitionError(
                f"the key {self._text!r} of the lock on {whose} cannot be read ({error}): double a brace that is meant "
                "as such, `{{`"
            ) from None
        names = [field.partition(".")[0].partition("[")[0] for field in fields]
        known = self._signature.parameters
        strange = [name for name in names if name not in known and (not name or not self._takes_any_name)]
        if strange:
            takes = ", ".join(known) or "nothing"
            raise DefinitionError(
                f"the key {self._text!r} of the lock on {whose} names {strange[0]!r}, which is no parameter: it takes "
                f"{takes}"
            )
        return names

    def fill(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
        """Return the key for a call.

        Raises:
            TypeError: The function cannot be called like that.
            LockUsageError: An argument lacks what the key asks of it, or makes a key that cannot be used.
        """
        if not self._names:
            return checked_key(self._text.format())
        call = self._signature.bind(*arguments, **options)
        call.apply_defaults()
        values = dict(call.arguments)
        if self._takes_any_name:
            values |= options
        try:
            return checked_key(self._text.format(**values))
        except (KeyError, AttributeError, IndexError, TypeError) as error:
            raise LockUsageError(
                f"the key {self._text!r} of a lock cannot be filled in: {type(error).__name__}: {error}"
            ) from error
