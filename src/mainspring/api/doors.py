"""Every door of the HTTP application, and the document that describes them.

FastAPI examines the handlers of all of them, which is half of the work of a start, so that `app.py` loads this module
when the first request for one of them comes.
"""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

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
    admin_own_notifications,
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
from mainspring.api.envelope import document_errors, is_enveloped

TITLE: Final = "mainspring"
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
    admin_own_notifications.router,
    admin_notification_routes.router,
    admin_breakers.router,
    admin_replays.router,
    jobs_run.router,
    health.router,
    docs.router,
    metrics.router,
)
"""Every door, those that the OpenAPI document leaves out among them."""


def _operation_id(route: APIRoute) -> str:
    return route.name


@functools.cache
def doors() -> APIRouter:
    """Return the routes of every application, one and the same for all in a process.

    An application that included the routers would have them examined for itself: 0.3 s of work.
    """
    together = APIRouter(generate_unique_id_function=_operation_id, redirect_slashes=False)
    for router in ROUTERS:
        together.include_router(router)
    return together


@functools.cache
def openapi_document() -> dict[str, Any]:
    """Return what `/openapi.json` says: FastAPI's document, with the errors of every address and their media type.

    It takes half a second to make and is the same for every application, so that a process makes it once.
    """
    document = get_openapi(title=TITLE, version=__version__, routes=doors().routes)
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
