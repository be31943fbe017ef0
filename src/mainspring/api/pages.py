"""Pages by number: the parameters that ask for one, and what each answer says about the others (contract §6)."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Request

MAX_PAGE_SIZE: Final = 100
MOST_PAGES: Final = 10_000

PageNumber = Annotated[int, Query(ge=1, le=MOST_PAGES)]
PageSize = Annotated[int, Query(alias="pageSize", ge=1, le=MAX_PAGE_SIZE)]


def pages_of(total: int, page: int, page_size: int) -> dict[str, Any]:
    """Return what a body says beside its items.

    Example:
        >>> pages_of(total=26, page=1, page_size=25)
        {'total': 26, 'page': 1, 'pageSize': 25, 'totalPages': 2}
    """
    return {"total": total, "page": page, "pageSize": page_size, "totalPages": -(-total // page_size)}


def next_link(request: Request, page: int, **more: object) -> str:
    """Return the header `Link` that leads to the next page, with the parameters of this one.

    Args:
        request: This one.
        page: Its number.
        **more: Further parameters of the next page, for instance its cursor.
    """
    query = urlencode({**request.query_params, "page": page + 1, **more})
    return f'<{request.url.path}?{query}>; rel="next"'
