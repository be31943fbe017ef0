"""The dashboard as an ASGI application, for `/ui` of the API and for any other program."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mainspring.reports.formats import FORMATS
from mainspring.web import (
    alerts,
    alerts_actions,
    audit_log,
    cron_editor,
    exports,
    faults,
    live,
    notifications,
    overview,
    own_notifications,
    palette,
    pause,
    people,
    people_keys,
    platform,
    queues,
    repair,
    run,
    run_a_job,
    run_log,
    runs,
    runs_bulk,
    runs_export,
    runs_views,
    schedule,
    schedule_actions,
    schedule_thresholds,
    schedules,
    settings,
    sign_in,
    workers,
)
from mainspring.web.assets import Assets
from mainspring.web.templating import Templates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mainspring.app import Mainspring
    from mainspring.live.hub import Hub

_logger = logging.getLogger(__name__)

_AS_THEY_ARE: Final = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    "application/octet-stream",
    *(kind.media_type.partition(";")[0] for kind in FORMATS.values()),
)
"""Not compressed: streams of events, and files, whose parts can be asked for."""

PAGES: Final = (
    sign_in,
    palette,
    live,
    exports,
    overview,
    schedules,
    schedule,
    schedule_actions,
    schedule_thresholds,
    cron_editor,
    pause,
    queues,
    runs,
    runs_bulk,
    runs_export,
    runs_views,
    run,
    run_log,
    run_a_job,
    workers,
    alerts_actions,
    alerts,
    notifications,
    own_notifications,
    repair,
    platform,
    audit_log,
    people_keys,
    people,
    settings,
)
"""Every page file; the menu shows those that it knows (`navigation.MENU`)."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def dashboard(app: Mainspring, *, read_only: bool = False, hub: Callable[[], Hub | None] = lambda: None) -> FastAPI:
    """Return the dashboard of an application, to be mounted in any ASGI application, under any path.

    People sign in to it; `mainspring user create` makes the first of them. The application has to be connected or
    running while it is served.

    Args:
        app: The application.
        read_only: Whether it only shows; what it could change is then neither offered nor done.
        hub: Returns what tells of changes, where the process has one already.

    Returns:
        An ASGI application.

    Example:
        >>> from starlette.applications import Starlette
        >>> from starlette.routing import Mount
        >>> host = Starlette(routes=[Mount("/ops/jobs", dashboard(app))])  # doctest: +SKIP
    """
    assets = Assets()
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    pages.state.mainspring, pages.state.read_only, pages.state.hub = app, read_only, hub
    pages.state.services, pages.state.draining = None, False
    pages.state.templates = Templates(assets)
    faults.install(pages)

    @pages.get("/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:  # pyright: ignore[reportUnusedFunction] - a route
        return assets.answer(request, name)

    pages.router.routes.extend(_routes())
    pages.state.paths = frozenset(getattr(route, "path", "") for page in PAGES for route in page.router.routes)
    pages.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5, exclude_content_types=_AS_THEY_ARE)
    pages.add_middleware(PageFrame, is_built=lambda: bool(assets.names))
    return pages


@functools.cache
def _routes() -> Sequence[BaseRoute]:
    """Return the routes of every dashboard, so that FastAPI examines their handlers once."""
    together = APIRouter()
    for page in PAGES:
        together.include_router(page.router)
    return together.routes


class PageFrame:
    """Gives each answer the headers of the dashboard, and says so where its files were not built.

    Args:
        app: What it stands around.
        is_built: Whether there are style and scripts.
    """

    def __init__(self, app: ASGIApp, is_built: Callable[[], bool]) -> None:
        self._app = app
        self._is_built = is_built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_framed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer: Any = self._app if self._is_built() else faults.not_built()
        try:
            await answer(_with_slash(scope), receive, send_framed)
        except ClientDisconnect:
            raise
        except Exception:
            if started:
                raise  # the answer is half sent: the server cuts the connection
            _logger.exception("the page %s failed", scope["path"])
            await faults.unexpected(Request(scope))(scope, receive, send_framed)


def _with_slash(scope: Scope) -> Scope:
    """A mount is found with and without the slash at its end."""
    root = scope.get("root_path", "")
    return {**scope, "path": f"{root}/"} if scope["path"] == root else scope
