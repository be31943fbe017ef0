"""A scheduler of a few lines, for the tests of services: it takes what a service sends, and calls it as ours does.

What it signs is signed by the package `standardwebhooks`, which none of our code is in; what it takes is read by the
models of the real routes.
"""

from __future__ import annotations

import asyncio
import queue
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from standardwebhooks import Webhook

from mainspring.api.api_jobs_register_bodies import RegisterJob
from mainspring.api.api_services_bodies import ListJobs
from mainspring.egress.client import Answer
from mainspring.errors import EgressUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

KEY = "msk_the_key_of_the_tests"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"
TOKEN = "the token of one attempt"
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Received:
    """A request of a service."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class StandIn:
    """The scheduler, and what it was told.

    Attributes:
        arrivals: Every request, for tests that wait on a thread.
        answers: What is answered next, by the last word of the path; where there is nothing, what the contract says.
    """

    url: str = ""
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict[str, list[tuple[int, Any]]])
    received: list[Received] = field(default_factory=list[Received])
    arrivals: queue.SimpleQueue[Received] = field(default_factory=queue.SimpleQueue["Received"])
    _queues: dict[str, asyncio.Queue[Received]] = field(default_factory=dict[str, "asyncio.Queue[Received]"])

    def answer_next(self, word: str, *answers: tuple[int, Any]) -> None:
        """Answer the next requests whose path ends with a word so, one after the other."""
        self.answers.setdefault(word, []).extend(answers)

    async def next(self, word: str) -> Received:
        """Return the next request whose path ends with a word, once it is there."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._queue(word).get()

    def said(self, word: str) -> list[Any]:
        """Return the bodies of all requests so far whose path ends with a word."""
        return [request.body for request in self.received if request.path.endswith(f"/{word}")]

    def take(self, request: Received) -> tuple[int, Any]:
        """Keep a request and return the answer to it."""
        word = request.path.rpartition("/")[2]
        self.received.append(request)
        self.arrivals.put(request)
        self._queue(word).put_nowait(request)
        if scripted := self.answers.get(word):
            return scripted.pop(0)
        if request.path == "/api/jobs/register":
            return 201, _registered(request)
        if request.path.startswith("/api/services/"):
            assert request.headers["authorization"] == f"Bearer {KEY}"
            ListJobs.model_validate_json(orjson.dumps(request.body))
            return 200, {"orphaned": [], "superseded": False}
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        return 200, {"cancelRequested": False}

    def _queue(self, word: str) -> asyncio.Queue[Received]:
        return self._queues.setdefault(word, asyncio.Queue())


def _registered(request: Received) -> dict[str, Any]:
    """Return what the real route answers; the body has to be one that it takes, to the last field."""
    assert request.headers["authorization"] == f"Bearer {KEY}"
    job = RegisterJob.model_validate_json(orjson.dumps(request.body))
    job.service_job()
    return {**request.body, "outcome": "created", "warnings": job.unknown_fields}


class DirectEgress:
    """Hands requests to a stand-in of the same process, in the place of `Egress`: no socket, no time.

    Attributes:
        is_down: Whether nobody listens there.
    """

    def __init__(self, scheduler: StandIn) -> None:
        self._scheduler = scheduler
        self.is_down = False

    async def request(self, method: str, url: str, *, body: bytes, headers: dict[str, str], **limits: Any) -> Answer:
        """Do as `Egress.request`, for addresses that the operator has set."""
        assert limits["set_by_operator"]
        assert limits.get("deadline", timedelta(seconds=5)) <= timedelta(seconds=30)
        if self.is_down:
            raise EgressUnreachableError(f"{self._scheduler.url} took no connection: it is down")
        path = url.removeprefix(self._scheduler.url)
        lower = {name.lower(): value for name, value in headers.items()}
        status, said = self._scheduler.take(Received(method, path, lower, orjson.loads(body)))
        return Answer(status, {}, orjson.dumps(said), truncated=False)

    def close(self) -> None:
        """Hold nothing."""


@asynccontextmanager
async def standing_in() -> AsyncGenerator[StandIn]:
    """Serve a stand-in on loopback for as long as the block lasts."""
    scheduler = StandIn()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = lines[0].split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            status, said = scheduler.take(Received(method, path, headers, orjson.loads(body)))
            answer = orjson.dumps(said)
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    scheduler.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield scheduler
    finally:
        server.close()
        await server.wait_closed()


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the scheduler, as any HTTP client sends it."""

    path: str
    body: bytes
    headers: dict[str, str]


EXECUTION = UUID("01929292-0000-7000-8000-000000000001")


def call(
    scheduler_url: str,
    job: str,
    *,
    at: datetime,
    payload: object = None,
    fence: int = 7,
    secret: str = SECRET,
    timeout: timedelta = timedelta(hours=1),
    traceparent: str | None = None,
    **fields: object,
) -> Call:
    """Return the call that starts an attempt: the body of contract §7, signed by an independent implementation."""
    said = {
        "executionId": str(EXECUTION),
        "jobName": job,
        "attempt": 1,
        "fence": fence,
        "trigger": "admin",
        "triggeredByUser": "ada",
        "scheduledFor": None,
        "deadline": (at + timeout).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "payload": payload,
        "config": {"batch": 10},
        "callback": {"url": f"{scheduler_url}/api/executions/{EXECUTION}", "token": TOKEN},
        **fields,
    }
    body = orjson.dumps(said)
    message_id = f"{said['executionId']}.{fence}"
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return Call(f"/api/jobs/{job}/execute", body, headers)
