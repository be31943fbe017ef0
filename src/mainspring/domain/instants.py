"""How instants are written in JSON."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def instant_text(instant: datetime | None) -> str | None:
    """Return an instant in UTC as the API writes it: ISO 8601 with milliseconds and `Z` (contract §6).

    Args:
        instant: One that is aware of its zone; None stays None.

    Example:
        >>> from datetime import UTC, datetime
        >>> instant_text(datetime(2024, 1, 30, 10, 30, tzinfo=UTC))
        '2024-01-30T10:30:00.000Z'
    """
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
