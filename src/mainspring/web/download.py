"""A stored export as an answer: whole, or the part that a `Range` asks for (RFC 9110 §14)."""

from __future__ import annotations

import re
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from mainspring.errors import MainspringError
from mainspring.reports.formats import media_type_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from mainspring.reports.storage import StoredExport

_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.ASCII)
_MAX_DIGITS: Final = 20


class RangeNotSatisfiableError(MainspringError):
    """The file has no such part.

    Args:
        size: How many bytes it has.
        header: Which ones were asked for.
    """

    code = "RANGE_NOT_SATISFIABLE"

    def __init__(self, size: int, header: str | None) -> None:
        super().__init__(f"the file has {size:,} bytes, and none of them are in the range {header}")
        self.size = size


def part_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a `Range` asks for; None: the whole file.

    What it does not understand, several ranges at once among it, a server may ignore, and this one does.

    Args:
        header: The value of `Range`.
        size: How many bytes the file has.

    Raises:
        RangeNotSatisfiableError: The file has no such part.

    Example:
        >>> part_of("bytes=-500", 1200), part_of("bytes=1000-", 1200), part_of("bytes=7-3", 1200)
        ((700, 1199), (1000, 1199), None)
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or len(match[0]) > 2 * _MAX_DIGITS or match[0] == "bytes=-":
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first >= size:
        raise RangeNotSatisfiableError(size, header)
    return first, last


class ExportResponse(StreamingResponse):
    """An export as an attachment, read in threads and closed however the sending ends.

    Args:
        request: What asked for it: `GET` or `HEAD`, with `Range` and `If-Range` or without.
        name: The name that the file is saved under.
        export: The file; it is closed.

    Raises:
        RangeNotSatisfiableError: It has no such part.
    """

    def __init__(self, request: Request, name: str, export: StoredExport) -> None:
        self._export = export
        modified = format_datetime(export.modified_at, usegmt=True)
        asked = request.headers.get("range")
        if request.headers.get("if-range", export.etag) not in {export.etag, modified}:
            asked = None  # it has another version than the part would belong to
        part = part_of(asked, export.size)
        first, last = part or (0, export.size - 1)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(last - first + 1),
            "ETag": export.etag,
            "Last-Modified": modified,
        }
        if part is not None:
            headers["Content-Range"] = f"bytes {first}-{last}/{export.size}"
        super().__init__(
            () if request.method == "HEAD" else export.read(first, last),
            status_code=200 if part is None else 206,
            headers=headers,
            media_type=media_type_of(name),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._export.close)
