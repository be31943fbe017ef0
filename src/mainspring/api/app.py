"""The HTTP application: routes, the frame around them, and the document that describes them."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from mainspring import __version__
from mainspring.api import (
    admin_alerts,
    admin_audit,
    admin_breakers,
    admin_cron_jobs,
    admin_cron_jobs_commands,
    admin_cron_jobs_live,
    admin_cron_jobs_reports,
    admin_cron_jobs_status,
    admin_jobs,
    admin_maintenance,
    admin_nodes,
    admin_notification_routes,
    admin_notifications,
    admin_pause,
    admin_replays,
    api_executions,
    api_jobs,
    api_jobs_history,
    api_jobs_preview,
    api_jobs_register,
    api_services,
    api_v1_exports,
    docs,
    health,
    jobs_run,
    metrics,
    problems,
    v1_jobs,
    v1_jobs_events,
    v1_jobs_history,
    v1_jobs_notifications,
    v1_jobs_templates,
)
from mainspring.api.deps import Services
from mainspring.api.envelope import document_errors, is_enveloped
from mainspring.api.frame import RequestFrame
from mainspring.api.hosts import HostCheck, Hosts
from mainspring.api.job_feed import JobFeed
from mainspring.api.metrics import DepthGauge
from mainspring.api.open_streams import OpenStreams
from mainspring.app import Mainspring
from mainspring.live.hub import Hub
from mainspring.runtime.node import Node
from mainspring.security.secret_key import LOOPBACK, is_loopback, secret_key_in_force
from mainspring.web.app import dashboard

ROUTERS: Final = (
    v1_jobs_templates.router,  # before `/{job_id}`
    v1_jobs.router,
    v1_jobs_events.router,
    v1_jobs_history.router,
    v1_jobs_notifications.router,
    api_v1_exports.router,
    api_jobs.router,
    api_jobs_history.router,
    api_jobs_preview.router,
    api_jobs_register.router,
    api_services.router,
    api_executions.router,
    admin_cron_jobs_live.router,  # before `/{job}`
    admin_cron_jobs_live.sockets,
    admin_cron_jobs_reports.router,
    admin_cron_jobs_status.router,
    admin_cron_jobs.router,
    admin_cron_jobs_commands.router,
    admin_nodes.router,
    admin_audit.router,
    admin_jobs.router,
    admin_alerts.router,
    admin_maintenance.router,
    admin_pause.router,
    admin_notifications.router,
    admin_notification_routes.router,
    admin_breakers.router,
    admin_replays.router,
    jobs_run.router,
    health.router,
    docs.router,
    metrics.router,
)
"""Every door, those that the OpenAPI document leaves out among them."""
_TITLE: Final = "mainspring"


def _operation_id(route: APIRoute) -> str:
    return route.name


def create_api(app: Mainspring, *, host: str = LOOPBACK, node: Node | None = None) -> FastAPI:
    """Return the HTTP application of a `Mainspring`.

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
            try:
                yield
            finally:
                await services.close()

    api = FastAPI(
        title=_TITLE,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads its scripts from a foreign host; ours is in docs.py
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.node, api.state.draining, api.state.is_loopback = node, False, is_loopback(host)
    problems.install(api)
    api.router.routes.extend(_routes())
    pages = api.state.pages = dashboard(app, hub=lambda: getattr(api.state, "live_hub", None))
    api.add_route("/ui", _to_dashboard, include_in_schema=False)
    api.mount("/ui", pages)
    api.add_middleware(HostCheck, hosts=Hosts(host, app.settings.public_url))
    api.add_middleware(RequestFrame, world=app.world)  # the last one stands outside of the others
    api.openapi = openapi_document
    return api


@functools.cache
def _routes() -> Sequence[BaseRoute]:
    """Return the routes of every application: FastAPI examines their handlers once, at the first request to a router.

    An application that included the routers would have them examined for itself: 0.3 s of work.
    """
    doors = APIRouter(generate_unique_id_function=_operation_id)
    for router in ROUTERS:
        doors.include_router(router)
    return doors.routes


async def _to_dashboard(request: Request) -> Response:
    return RedirectResponse(f"{request.url.path}/", HTTPStatus.PERMANENT_REDIRECT)


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Return what `/openapi.json` says: FastAPI's document, with the errors of every address and their media type.

    It takes half a second to make and is the same for every application, so that a process makes it once.
    """
    document = get_openapi(title=_TITLE, version=__version__, routes=_routes())
    document["components"]["schemas"] |= problems.schemas()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            answers |= problems.of_every_address()
            if is_enveloped(path):
                document_errors(answers)
                continue
            for status, answer in answers.items():
                if int(status) >= HTTPStatus.BAD_REQUEST and "application/json" in answer.get("content", {}):
                    answer["content"] = {problems.MEDIA_TYPE: answer["content"]["application/json"]}
    return document
