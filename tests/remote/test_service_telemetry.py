"""What a service tells other systems of its work: spans by OTLP, and what its handlers say to Sentry."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

from tests.cluster.otlp_receiver import receiving_spans
from tests.remote.stand_in import EXECUTION
from tests.sentry_transport import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.remote.conftest import Deployment

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PROGRAM = """
import asyncio
from datetime import UTC, datetime
import httpx2
from opentelemetry import trace
from mainspring import RemoteService
from mainspring.world import RealWorld
from tests.remote.stand_in import KEY, SECRET, call

service = RemoteService("mailer", scheduler_url="http://127.0.0.1:9", callback_url="http://127.0.0.1:9", key=KEY,
                        signing_secret=SECRET)

@service.job("work")
async def work() -> None:
    trace.get_tracer("app").start_span("SELECT letters").end()

async def main() -> None:
    async with service.lifespan(), httpx2.AsyncClient(transport=httpx2.ASGITransport(service.asgi())) as http:
        made = call("http://127.0.0.1:9", "work", at=RealWorld().now(), traceparent="00-{trace}-00f067aa0ba902b7-01")
        answer = await http.post(f"http://127.0.0.1:9{{made.path}}", content=made.body, headers=made.headers)
        assert answer.json()["success"], answer.text

asyncio.run(main())
"""


def test_spans_of_a_service_are_exported_in_the_trace_of_its_scheduler() -> None:
    with receiving_spans() as (url, receiver):
        environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        program = [sys.executable, "-c", PROGRAM.format(trace=TRACE)]
        subprocess.run(program, env=environment, check=True, timeout=50)
        (attempt,), (query,) = receiver.wait_for("work"), receiver.wait_for("SELECT letters")

    assert (attempt.service, attempt.trace_id, attempt.parent_id) == ("mailer", TRACE, "00f067aa0ba902b7")
    assert query.parent_id == attempt.span_id


@pytest.fixture
def kept() -> Iterator[Kept]:
    """The client that the program of the service has set up, and what it is told."""
    kept = Kept()
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=kept, default_integrations=False)
    yield kept
    sentry_sdk.get_global_scope().set_client(None)


async def test_what_a_handler_of_a_service_tells_sentry_names_its_attempt_and_the_failure_is_left_to_the_scheduler(
    deployment: Deployment, kept: Kept
) -> None:
    @deployment.service.job("work")
    async def work() -> None:
        sentry_sdk.capture_message("the letters look odd")
        raise LookupError("no letters")

    await deployment.send(deployment.call("work"))

    (event,) = kept.told
    assert (event["message"], event["tags"]["job"]) == ("the letters look odd", "work")
    assert event["tags"]["execution"] == str(EXECUTION)
