"""A view that runs a job and unwraps it, in each framework, with the real Sentry SDK around: what each of them sees.

Run as a program, because the integrations of the SDK change the frameworks of the process for good. It prints JSON: by
framework, the exceptions that its handler was given, and the events that Sentry got where there is no handler.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Django comes without types.

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import django
import flask
import sentry_sdk
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path
from fastapi import FastAPI
from sentry_sdk.transport import Transport
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mainspring import Job, JobFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.types import Event
    from starlette.requests import Request

Shown = tuple[str, str]
events: list[Event] = []


def keep(event: Event, _hint: object) -> Event:
    """Keep an event, and let it go on: one that is dropped here, the SDK would take again."""
    events.append(event)
    return event


class Nowhere(Transport):
    """A transport that sends nothing."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Drop it."""


def pregenerate() -> None:
    """Fail as a job does."""
    raise ValueError("no template")


def shown(error: Exception) -> Shown:
    """Return what a handler sees of a failure: its class and that of its cause."""
    return type(error).__name__, type(error.__cause__).__name__


async def run_and_unwrap() -> None:
    """Do what the document asks of every consumer."""
    (await Job.run("pregenerate-configs", pregenerate)).unwrap()


def with_fastapi(handled: list[Shown] | None) -> int:
    """Ask a FastAPI application."""
    api = FastAPI()
    api.get("/")(run_and_unwrap)
    if handled is not None:

        @api.exception_handler(JobFailed)
        async def answer(_request: Request, error: Exception) -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
            handled.append(shown(error))
            return JSONResponse({}, status_code=502)

    return TestClient(api, raise_server_exceptions=False).get("/").status_code


def with_starlette(handled: list[Shown] | None) -> int:
    """Ask a Starlette application."""

    async def view(_request: Request) -> JSONResponse:
        await run_and_unwrap()
        return JSONResponse({})

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        if handled is not None:
            handled.append(shown(error))
        return JSONResponse({}, status_code=502)

    handlers: dict[Any, Any] = {} if handled is None else {JobFailed: answer}
    app = Starlette(routes=[Route("/", view)], exception_handlers=handlers)
    return TestClient(app, raise_server_exceptions=False).get("/").status_code


def unwrap_at_once() -> str:
    """Do the same without an event loop."""
    Job.run_sync("pregenerate-configs", pregenerate).unwrap()
    return "done"


def with_flask(handled: list[Shown] | None) -> int:
    """Ask a Flask application."""
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=unwrap_at_once)
    if handled is not None:

        @app.errorhandler(JobFailed)
        def answer(error: JobFailed) -> tuple[str, int]:  # pyright: ignore[reportUnusedFunction]
            handled.append(shown(error))
            return "", 502

    return app.test_client().get("/").status_code


django_handled: list[Shown] | None = None


def django_view(_request: HttpRequest) -> HttpResponse:
    """Serve `/` in Django."""
    unwrap_at_once()
    return HttpResponse()


class DjangoMiddleware:
    """Django's way to handle an exception: `process_exception`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer, where the test wants a handler."""
        if django_handled is None:
            return None
        django_handled.append(shown(error))
        return HttpResponse(status=502)


urlpatterns = [path("", django_view)]


def with_django(handled: list[Shown] | None) -> int:
    """Ask a Django application."""
    global django_handled  # noqa: PLW0603 - Django finds its middleware by name
    django_handled = handled
    handler: Any = WSGIHandler()
    requests: Any = RequestFactory()
    return handler.get_response(requests.get("/")).status_code


def main() -> None:
    """Ask each framework twice, with a handler of its own and without."""
    sentry_sdk.init(dsn="http://key@127.0.0.1:1/1", before_send=keep, transport=Nowhere())
    settings: Any = django_settings
    settings.configure(ROOT_URLCONF="__main__", MIDDLEWARE=["__main__.DjangoMiddleware"], ALLOWED_HOSTS=["*"])
    django.setup()
    seen: dict[str, Any] = {}
    frameworks = {"fastapi": with_fastapi, "starlette": with_starlette, "flask": with_flask, "django": with_django}
    for name, ask in frameworks.items():
        handled: list[Shown] = []
        statuses = [ask(handled)]
        events.clear()
        statuses.append(ask(None))
        values = [event.get("exception", {}).get("values", []) for event in events]
        seen[name] = {
            "statuses": statuses,
            "handled": handled,
            "events": [[value["type"] for value in exceptions] for exceptions in values],
        }
    json.dump(seen, sys.stderr)


if __name__ == "__main__":
    main()
