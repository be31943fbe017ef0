"""What is answered where a page cannot be: in the same look, with what to do next."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from mainspring.errors import (
    DatabaseUnreachableError,
    ExecutionNotFoundError,
    JobNotFoundError,
    MainspringError,
    NotRunningError,
    PermissionDeniedError,
)
from mainspring.reports.storage import ExportNotFoundError
from mainspring.security.logins import TooManySignInsError
from mainspring.security.passwords import TooBusyError
from mainspring.web.cookies import base_of
from mainspring.web.csrf import ForgedRequestError
from mainspring.web.download import RangeNotSatisfiableError
from mainspring.web.visit import NotSignedInError, ReadOnlyError, sign_in_path
from mainspring.web.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS: Final = WORDS["fault"]
_STATUSES: Final[Mapping[type[MainspringError], HTTPStatus]] = {
    DatabaseUnreachableError: HTTPStatus.SERVICE_UNAVAILABLE,
    ExecutionNotFoundError: HTTPStatus.NOT_FOUND,
    ExportNotFoundError: HTTPStatus.NOT_FOUND,
    ForgedRequestError: HTTPStatus.FORBIDDEN,
    JobNotFoundError: HTTPStatus.NOT_FOUND,
    NotRunningError: HTTPStatus.SERVICE_UNAVAILABLE,
    PermissionDeniedError: HTTPStatus.FORBIDDEN,
    RangeNotSatisfiableError: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    ReadOnlyError: HTTPStatus.FORBIDDEN,
    TooBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManySignInsError: HTTPStatus.TOO_MANY_REQUESTS,
}


def install(pages: FastAPI) -> None:
    """Answer errors of every page."""
    pages.add_exception_handler(NotSignedInError, _to_sign_in)
    pages.add_exception_handler(MainspringError, _refused)
    pages.add_exception_handler(HTTPException, _missing)
    pages.add_exception_handler(RequestValidationError, _missing)


def not_built() -> Response:
    """Return the one page of a dashboard without style and scripts: plain words."""
    return PlainTextResponse(f"{_WORDS['assets_title']}\n\n{_WORDS['assets']}\n", HTTPStatus.SERVICE_UNAVAILABLE)


def unexpected(request: Request) -> Response:
    """Return the page for an error that nobody foresaw."""
    return _page(request, _WORDS["error_title"], _WORDS["unexpected"], HTTPStatus.INTERNAL_SERVER_ERROR, {})


async def _to_sign_in(request: Request, _error: Any) -> Response:  # noqa: ANN401 - starlette's signature
    target = sign_in_path(request, base_of(request))
    if "hx-request" in request.headers:  # a fragment must not become a sign-in form
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": target})
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)


async def _refused(request: Request, error: Any) -> Response:  # noqa: ANN401 - as above
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), HTTPStatus.CONFLICT)
    title = _WORDS["denied_title"] if isinstance(error, PermissionDeniedError) else _WORDS["error_title"]
    wait = getattr(error, "retry_after", None)
    headers = {} if wait is None else {"Retry-After": str(max(1, round(wait.total_seconds())))}
    return _page(request, title, str(error), status, headers)


async def _missing(request: Request, error: Any) -> Response:  # noqa: ANN401 - as above
    status = HTTPStatus(getattr(error, "status_code", HTTPStatus.NOT_FOUND))
    return _page(request, _WORDS["missing_title"], _WORDS["missing"], status, {})


def _page(request: Request, title: str, text: str, status: HTTPStatus, headers: Mapping[str, str]) -> Response:
    template = "fault_fragment.html" if "hx-request" in request.headers else "fault.html"
    html = request.app.state.templates.render_for_strangers(template, base_of(request), {"title": title, "text": text})
    return HTMLResponse(html, status, headers=dict(headers))
