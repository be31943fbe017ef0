"""Instants in bodies and parameters: text with a zone, never a number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from pydantic import AwareDatetime, BeforeValidator


def read_instant(value: object) -> object:
    """Return what pydantic is to check: an instant in UTC, if the text is one.

    Raises:
        ValueError: It is none; the message says how to write one.
    """
    if not isinstance(value, str):
        raise ValueError("it must be an instant as text, for instance 2024-01-30T10:30:00Z")  # noqa: TRY004 - for pydantic
    try:
        instant = datetime.fromisoformat(value)
        return instant if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("it is no instant: write it like 2024-01-30T10:30:00Z") from None


GivenInstant: TypeAlias = Annotated[AwareDatetime, BeforeValidator(read_instant)]
"""The type of a field or parameter that takes an instant."""
