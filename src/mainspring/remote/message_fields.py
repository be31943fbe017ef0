"""Reading a JSON object that another program has sent: each field is what it must be, or the message names it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

import orjson

from mainspring.errors import MainspringError

_MOST: Final = 2**63 - 1


class MalformedMessageError(MainspringError):
    """The other side sent something that is no message of this protocol."""

    code = "MALFORMED_MESSAGE"


@dataclass(frozen=True, slots=True)
class MessageFields:
    """A JSON object of the other side, read field by field.

    Attributes:
        values: What it holds.
    """

    values: dict[str, Any]

    @classmethod
    def of(cls, body: bytes) -> MessageFields:
        """Return the object that a body holds.

        Raises:
            MalformedMessageError: It holds none.
        """
        try:
            values: object = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise MalformedMessageError(f"the body is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise MalformedMessageError("the body is no JSON object")
        return cls(cast("dict[str, Any]", values))

    def text_at(self, name: str) -> str:
        """Return a text that is not empty."""
        text = self.values.get(name)
        if not isinstance(text, str) or not text:
            raise MalformedMessageError(f"`{name}` must be a text")
        return text

    def optional_text_at(self, name: str) -> str | None:
        """Return a text; None: it is not said."""
        text = self.values.get(name)
        if text is not None and not isinstance(text, str):
            raise MalformedMessageError(f"`{name}` must be a text")
        return text

    def number_at(self, name: str, *, default: int | None = None) -> int:
        """Return a whole number, at least 0; `default` where it is not said."""
        number = self.values.get(name)
        if number is None and default is not None:
            return default
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _MOST:
            raise MalformedMessageError(f"`{name}` must be a whole number, at least 0")
        return number

    def seconds_at(self, name: str) -> float | None:
        """Return a number of seconds, at least 0; None: it is not said."""
        seconds = self.values.get(name)
        if seconds is None:
            return None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            raise MalformedMessageError(f"`{name}` must be a number of seconds, at least 0")
        return float(seconds)

    def object_at(self, name: str, *, optional: bool = False) -> MessageFields:
        """Return an object; an empty one where it is not said and need not be."""
        value = self.values.get(name)
        if value is None and optional:
            return MessageFields({})
        if not isinstance(value, dict):
            raise MalformedMessageError(f"`{name}` must be an object")
        return MessageFields(cast("dict[str, Any]", value))

    def error_at(self, name: str) -> MessageFields | None:
        """Return an error that is an object with `code` and `message`, or a mere text."""
        value = self.values.get(name)
        if isinstance(value, str):
            return MessageFields({"message": value})
        return None if value is None else self.object_at(name)

    def id_at(self, name: str) -> UUID:
        """Return a UUID."""
        try:
            return UUID(self.text_at(name))
        except ValueError:
            raise MalformedMessageError(f"`{name}` must be a UUID") from None

    def instant_at(self, name: str) -> datetime:
        """Return an instant in UTC."""
        try:
            instant = datetime.fromisoformat(self.text_at(name))
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise MalformedMessageError(f"`{name}` must be an instant with its zone, like 2026-01-30T10:30:00.000Z")

    def optional_instant_at(self, name: str) -> datetime | None:
        """Return an instant in UTC; None: it is not said."""
        return None if self.values.get(name) is None else self.instant_at(name)
