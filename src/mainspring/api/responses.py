"""How answers are written: JSON straight to bytes, instants with milliseconds and `Z`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping


def json_response(body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer.

    It goes to bytes at once: a response model would cost ten times as much, and the schema is documented all the same.
    """
    return Response(orjson.dumps(body), status_code=status, headers=headers, media_type="application/json")


def instant_text(instant: datetime | None) -> str | None:
    """Return an instant as the API writes it.

    Example:
        >>> from datetime import UTC
        >>> instant_text(datetime(2024, 1, 30, 10, 30, tzinfo=UTC))
        '2024-01-30T10:30:00.000Z'
    """
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
