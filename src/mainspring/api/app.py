"""The HTTP application: routes, the frame around them, and the document that describes them."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from mainspring import __version__
from mainspring.api import health, problems
from mainspring.api.deferred import Deferred
from mainspring.api.frame import RequestFrame
from mainspring.api.hosts import HostCheck, Hosts
from mainspring.api.job_feed import JobFeed
from mainspring.api.metrics import DemandGauge, DepthGauge
from mainspring.api.open_streams import OpenStreams
from mainspring.api.services import Services
from mainspring.app import Mainspring
from mainspring.live.hub import Hub
from mainspring.runtime.node import Node
from mainspring.security.secret_key import LOOPBACK, is_loopback, secret_key_in_force

_TITLE: Final = "mainspring"


def create_api(app: Mainspring, *, host: str = LOOPBACK, node: Node | None = None) -> FastAPI:
    """Return the HTTP application of a `Mainspring`.

    `/healthz` and `/readyz` are there at once. The doors and the dashboard are loaded when they are first asked for;
    whoever serves the application may have `api.state.doors` loaded before.

    Its lifespan opens the store unless `app.connected()` or `app.running()` has done so. Whoever stops the server
    sets `api.state.draining` first, so that `/readyz` says no.

    Args:
        app: The application whose jobs are served.
        host: The address it will be bound to; it decides what is open without a token, by which names the server is
            known, and whether the secret key may be one that mainspring has made itself.
        node: The node of this process, for `/healthz`.

    Raises:
        ConfigurationError: There is no secret key, and there has to be one.

    Example:
        >>> api = create_api(app)  # doctest: +SKIP
        >>> uvicorn.run(api, port=7007)  # doctest: +SKIP
    """
    key = secret_key_in_force(app.settings, app.world, host=host)

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncGenerator[None]:
        async with app.connected():
            services = api.state.services = Services.of(app, key)
            api.state.job_feed = JobFeed(app.opened.database, app.opened.signals, app.settings, app.world)
            api.state.live_hub = Hub(
                app.opened.database, app.opened.signals, environment=app.settings.environment, world=app.world
            )
            api.state.open_streams = OpenStreams()
            api.state.depth_gauge = DepthGauge(app.opened.database, app.settings.environment, app.world)
            api.state.demand_gauge = DemandGauge(app.opened.database, app.settings, app.world)
            try:
                yield
            finally:
                await services.close()

    api = FastAPI(
        title=_TITLE,
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # FastAPI's makes the document on the event loop; ours is in docs.py
        docs_url=None,  # and FastAPI's page loads its scripts from a foreign host
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.pages = None
    api.state.node, api.state.draining, api.state.is_loopback = node, False, is_loopback(host)
    problems.install(api)
    api.router.routes.extend(_health())
    api.add_route("/ui", _to_dashboard, include_in_schema=False)
    api.mount("/ui", Deferred(lambda: _dashboard(api, app), app.world, name="dashboard"))
    api.router.default = api.state.doors = Deferred(_doors, app.world, name="doors")
    api.add_middleware(HostCheck, hosts=Hosts(host, app.settings.public_url))
    api.add_middleware(RequestFrame, world=app.world)  # the last one stands outside of the others
    api.openapi = _openapi_document
    return api


@functools.cache
def _health() -> Sequence[BaseRoute]:
    """Return the routes that are there from the start, examined once a process."""
    together = APIRouter()
    together.include_router(health.router)
    return together.routes


def _doors() -> ASGIApp:
    from mainspring.api.doors import doors

    return doors()


def _dashboard(api: FastAPI, app: Mainspring) -> ASGIApp:
    from mainspring.web.app import dashboard

    pages = api.state.pages = dashboard(app, hub=lambda: getattr(api.state, "live_hub", None))
    pages.state.draining = api.state.draining
    return pages


def _openapi_document() -> dict[str, Any]:
    from mainspring.api.doors import openapi_document

    return openapi_document()


async def _to_dashboard(request: Request) -> Response:
    return RedirectResponse(f"{request.url.path}/", HTTPStatus.PERMANENT_REDIRECT)
