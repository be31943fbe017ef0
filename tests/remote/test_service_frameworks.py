"""The same service in FastAPI, Starlette, Flask and Django, and on its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import httpx2
import pytest
from django.conf import settings as django_settings  # pyright: ignore[reportMissingTypeStubs]
from django.core.wsgi import get_wsgi_application  # pyright: ignore[reportMissingTypeStubs]
from django.http import HttpResponse  # pyright: ignore[reportMissingTypeStubs]
from django.urls import path  # pyright: ignore[reportMissingTypeStubs]
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server
from werkzeug.test import Client

from mainspring import JobContext, JobResult, RemoteService
from mainspring.errors import NotRunningError
from mainspring.world import RealWorld, run_in_thread
from tests.remote.stand_in import KEY, SECRET, Call, StandIn, call, standing_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from starlette.requests import Request

    from tests.remote.conftest import Deployment

PROGRAM = Path(__file__).with_name("wsgi_program.py")


def declare(service: RemoteService) -> None:
    @service.job("digest")
    async def digest(ctx: JobContext[Any], payload: dict[str, Any]) -> JobResult:
        """Send the digest."""
        return JobResult(items_processed=payload["users"], metadata={"service": ctx.node})


# ---- ASGI ----------------------------------------------------------------------------------------------------------


async def post(app: Any, prefix: str, made: Call) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://email-service") as client:
        return await client.post(prefix + made.path, content=made.body, headers=made.headers)


async def get(app: Any, address: str) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://email-service") as client:
        return await client.get(address)


async def test_fastapi_mounts_it_beside_its_own_routes(deployment: Deployment) -> None:
    declare(deployment.service)
    api = FastAPI(lifespan=deployment.service.lifespan)

    @api.get("/hello")
    def hello() -> str:
        return "hello"

    api.mount("/", deployment.service.asgi())
    async with api.router.lifespan_context(api):
        await deployment.settle()
        answer = await post(api, "", deployment.call("digest", payload={"users": 3}))

        assert answer.json()["itemsProcessed"] == 3
        assert answer.json()["metadata"] == {"service": "email-service"}
        assert (await get(api, "/hello")).json() == "hello"
        assert (await get(api, "/healthz")).json()["jobs"] == ["digest"]
        assert (await get(api, "/elsewhere")).json()["code"] == "NOT_FOUND"
    assert deployment.scheduler.said("register")[0]["name"] == "digest"
    assert (await get(api, "/healthz")).status_code == 503


async def test_starlette_mounts_it_below_a_prefix(deployment: Deployment) -> None:
    declare(deployment.service)

    async def hello(_: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(
        routes=[Route("/hello", hello), Mount("/scheduler", deployment.service.asgi())],
        lifespan=deployment.service.lifespan,
    )
    async with app.router.lifespan_context(app):
        answer = await post(app, "/scheduler", deployment.call("digest", payload={"users": 3}))

        assert answer.json()["itemsProcessed"] == 3
        assert (await get(app, "/hello")).text == "hello"
        assert (await post(app, "", deployment.call("digest"))).status_code == 404


async def test_an_asgi_server_serves_it_on_its_own(deployment: Deployment) -> None:
    declare(deployment.service)
    app, sent = deployment.service.asgi(), list[str]()
    events = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        await deployment.settle()
        return {"type": next(events)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert len(deployment.scheduler.said("register")) == 1


@pytest.mark.parametrize(
    ("method", "address", "status", "allowed"),
    [("GET", "/api/jobs/digest/execute", 405, "POST"), ("POST", "/healthz", 405, "GET, HEAD")],
)
async def test_another_method_is_told_which_one_to_use(
    deployment: Deployment, method: str, address: str, status: int, allowed: str
) -> None:
    transport = httpx2.ASGITransport(deployment.service.asgi())
    async with httpx2.AsyncClient(transport=transport, base_url="http://email-service") as client:
        answer = await client.request(method, address)

    assert (answer.status_code, answer.headers["allow"]) == (status, allowed)


# ---- WSGI ----------------------------------------------------------------------------------------------------------


def hello_of_django(_request: object) -> HttpResponse:
    return HttpResponse(b"hello")


urlpatterns = [path("hello", hello_of_django)]


@contextmanager
def on_the_real_clock(deployment: Deployment) -> Generator[RemoteService]:
    """A service whose work runs on a thread of its own; it is ended with the test."""
    service = RemoteService(
        "email-service",
        scheduler_url=deployment.scheduler.url,
        callback_url="http://email-service:7006",
        key=KEY,
        signing_secret=SECRET,
    )
    declare(service)
    try:
        yield service
    finally:
        service.close()


def send(client: Client, made: Call, prefix: str = "") -> Any:
    return client.post(prefix + made.path, data=made.body, headers=made.headers)


def now_call(scheduler: StandIn, job: str, **said: Any) -> Call:
    return call(scheduler.url, job, at=datetime.now(UTC), **said)  # noqa: TID251 - as the machine's own clock


@pytest.fixture
def service(deployment: Deployment) -> Iterator[RemoteService]:
    with on_the_real_clock(deployment) as service:
        yield service


def test_flask_serves_it_beside_its_own_routes(deployment: Deployment, service: RemoteService) -> None:
    app = Flask("email-service")
    app.add_url_rule("/hello", view_func=lambda: "hello")
    app.wsgi_app = service.wsgi(app.wsgi_app)
    client = app.test_client()

    answer = send(client, now_call(deployment.scheduler, "digest", payload={"users": 3}))

    assert (answer.status_code, json.loads(answer.data)["itemsProcessed"]) == (200, 3)
    assert client.get("/hello").text == "hello"
    assert client.get("/elsewhere").status_code == 404
    assert "text/html" in client.get("/elsewhere").headers["content-type"], "it is Flask's own"
    assert deployment.scheduler.arrivals.get(timeout=20).body["name"] == "digest"


def test_flask_mounts_it_below_a_prefix(deployment: Deployment, service: RemoteService) -> None:
    app = Flask("email-service")
    client = Client(DispatcherMiddleware(app.wsgi_app, {"/scheduler": service.wsgi()}))

    answer = send(client, now_call(deployment.scheduler, "digest", payload={"users": 3}), "/scheduler")

    assert (answer.status_code, json.loads(answer.data)["itemsProcessed"]) == (200, 3)
    assert json.loads(client.get("/scheduler/healthz").data)["status"] == "ok"
    assert json.loads(client.get("/scheduler/elsewhere").data)["code"] == "NOT_FOUND"


def test_django_serves_it_beside_its_own_routes(deployment: Deployment, service: RemoteService) -> None:
    if not django_settings.configured:
        django_settings.configure(  # pyright: ignore[reportUnknownMemberType]
            ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of these tests"
        )
    django: Any = get_wsgi_application()
    client = Client(service.wsgi(django))

    answer = send(client, now_call(deployment.scheduler, "digest", payload={"users": 3}))

    assert (answer.status_code, json.loads(answer.data)["itemsProcessed"]) == (200, 3)
    assert client.get("/hello").text == "hello"
    assert client.get("/elsewhere").status_code == 404


def test_work_that_takes_longer_leaves_the_thread_of_the_server(deployment: Deployment, service: RemoteService) -> None:
    may_end = threading.Event()

    @service.job("slow")
    def slow() -> str:
        assert may_end.wait(20)
        return "done"

    client = Client(service.wsgi(answer_within=timedelta(0)))
    answer = send(client, now_call(deployment.scheduler, "slow"))
    assert (answer.status_code, answer.json) == (202, {})
    may_end.set()

    while (told := deployment.scheduler.arrivals.get(timeout=20)).path.rpartition("/")[2] != "complete":
        pass
    assert told.body["metadata"] == {"result": "done"}


@pytest.mark.parametrize(
    ("signed", "length", "status"), [(False, "10", 401), (True, "1000001", 413), (True, "many", 413)]
)
def test_what_is_refused_is_not_read(
    deployment: Deployment, service: RemoteService, length: str, status: int, *, signed: bool
) -> None:
    made = now_call(deployment.scheduler, "digest")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST", "PATH_INFO": made.path, "CONTENT_LENGTH": length, "wsgi.input": None,
    }  # fmt: skip
    if signed:
        environ |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in made.headers.items()}
    answered: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        answered.append(status)

    service.wsgi()(environ, start_response)

    assert int(answered[0].split()[0]) == status


def test_a_service_that_cannot_start_says_so_at_once(service: RemoteService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "register_all", Mock(side_effect=ValueError("a defect")))

    with pytest.raises(NotRunningError, match="could not start") as refusal:
        service.wsgi()
    assert str(refusal.value.__cause__) == "a defect"


@contextmanager
def served(app: Any) -> Generator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    RealWorld().start_thread(server.serve_forever, name="server of the test")
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def test_a_real_wsgi_server_and_real_requests_in_both_directions() -> None:
    async with standing_in() as scheduler:
        service = RemoteService(
            "email-service",
            scheduler_url=scheduler.url,
            callback_url="http://email-service:7006",
            key=KEY,
            signing_secret=SECRET,
        )
        may_end = threading.Event()

        @service.job("slow")
        def slow() -> int:
            assert may_end.wait(20)
            return 3

        world = RealWorld()
        threads = world.thread_pool(1, name="start of the server")
        try:
            app = await run_in_thread(threads, lambda: service.wsgi(answer_within=timedelta(0)))
            assert scheduler.said("register")[0]["name"] == "slow"
            assert scheduler.said("jobs") == [{"names": ["slow"]}]
            with served(app) as url:
                made = now_call(scheduler, "slow")
                async with httpx2.AsyncClient() as client:
                    answer = await client.post(url + made.path, content=made.body, headers=made.headers)
                assert answer.status_code == 202
                may_end.set()
                assert (await scheduler.next("complete")).body["metadata"] == {"result": 3}
        finally:
            await run_in_thread(threads, service.close)
            threads.shutdown()


@pytest.mark.parametrize("way", ["fork", "exit"])
async def test_a_process_that_forks_or_ends_loses_no_work(way: str) -> None:
    """A server may load the application and fork; and what was accepted is told before the process is gone."""
    async with standing_in() as scheduler:
        made = now_call(scheduler, "slow")
        headers = [f"{name}={value}" for name, value in made.headers.items()]
        program = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), way, scheduler.url, SECRET, made.path, *headers,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(program.communicate(made.body), 30)
        assert "202" in said.decode().splitlines()
        assert program.returncode == 0
        assert scheduler.said("complete")[0]["metadata"] == {"result": way}
