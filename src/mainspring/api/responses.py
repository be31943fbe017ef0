"""How answers are written: JSON straight to bytes."""

from __future__ import annotations

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
