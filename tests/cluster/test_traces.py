"""What a collector gets from a real node: one trace from the request to the last attempt, in whatever process."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest

from mainspring import Mainspring
from mainspring.cli.token import tokens_of
from mainspring.domain.access import Role
from mainspring.store.runs import run_logs
from mainspring.world import RealWorld
from tests.cluster.conftest import ServedNode
from tests.cluster.otlp_receiver import OtlpReceiver, receiving_spans

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.cluster.otlp_receiver import Span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
KEY = "a key that only these tests know, 32 bytes"
PLACES = ("async", "thread", "child")


@dataclass
class TracedNode:
    """A node that sends its spans to a receiver, with the runs that were asked of it."""

    node: ServedNode
    receiver: OtlpReceiver
    runs: dict[str, dict[str, Any]]
    said: dict[str, dict[str, Any]]

    def span(self, name: str) -> Span:
        """Return the one span of that name."""
        (found,) = self.receiver.wait_for(name)
        return found

    def root_of(self, span: Span) -> str:
        """Return the span that its trace begins with, as far as it arrived here: the API makes spans of its own."""
        parents = {each.span_id: each.parent_id for each in self.receiver.spans}
        above = span.parent_id
        while above in parents:
            above = parents[above]
        return above


def has_succeeded(http: httpx2.Client, job: str) -> bool:
    """Whether the last run of a job has."""
    last_run = http.get(f"/api/jobs/{job}").json()["lastRun"]
    return bool(last_run) and last_run["status"] == "succeeded"


def said(node: ServedNode, url: str, in_child: UUID) -> dict[str, dict[str, Any]]:
    """Return what the handlers have logged by `logging`, by where they ran: a child's lines are kept with its run."""

    async def read() -> list[str]:
        async with Mainspring(database_url=url, secret_key=KEY).connected() as app:
            lines = await app.opened.database.read(lambda connection: run_logs.lines_of(connection, in_child))
            return [line.message for line in lines]

    printed = [*node.said_in_error().splitlines(), *asyncio.run(read())]
    lines = [json.loads(line) for line in printed if "worked in" in line]
    return {line["message"].removeprefix("worked in "): line for line in lines}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Generator[TracedNode]:
    """A node that has run each kind of handler once, at the request of a caller who traces, and has drained."""
    folder = tmp_path_factory.mktemp("traced")
    url = f"sqlite:///{folder}/store.db"
    with receiving_spans() as (endpoint, receiver):
        settings = {
            "MAINSPRING_APP": "trace_jobs:app",
            "MAINSPRING_DATABASE_URL": url,
            "MAINSPRING_LOG_FORMAT": "json",
            "MAINSPRING_POLL": "0.2s",
            "MAINSPRING_SECRET_KEY": KEY,
            "OTEL_BSP_SCHEDULE_DELAY": "600000",  # what arrives was handed over at the end of a process
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_SERVICE_NAME": "shop",
            "SERVICE_URL": endpoint,
        }
        node = ServedNode("a", settings)
        try:
            node.wait_until_ready()
            token = tokens_of(Mainspring(database_url=url, secret_key=KEY)).create("ops", role=Role.ADMIN)
            headers = {"Authorization": f"Bearer {token}", "traceparent": f"00-{TRACE}-{PARENT}-01"}
            with httpx2.Client(base_url=node.url, headers=headers, timeout=30) as http:
                runs = {place: http.post(f"/jobs/in-{place}/run").json() for place in PLACES}
                while not has_succeeded(http, "ticking"):
                    RealWorld().pause(0.05)
            node.send(signal.SIGTERM)
            assert node.exit_code() == 0
            yield TracedNode(node, receiver, runs, said(node, url, UUID(runs["child"]["id"])))
        finally:
            node.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_request_its_execution_and_what_the_handler_calls_are_one_trace(traced: TracedNode, place: str) -> None:
    requested, attempt = traced.span(f"enqueue in-{place}"), traced.span(f"in-{place}")
    query, call = traced.span(f"select in {place}"), traced.span(f"GET from {place}")

    assert {span.trace_id for span in (requested, attempt, query, call)} == {TRACE}
    assert traced.root_of(requested) == PARENT
    assert attempt.parent_id == requested.span_id
    assert (query.parent_id, call.parent_id) == (attempt.span_id, attempt.span_id)
    assert f"00-{TRACE}-{call.span_id}-01" in traced.receiver.called_with
    assert {span.service for span in (requested, attempt, query, call)} == {"shop"}
    assert attempt.attributes["mainspring.execution_id"] == traced.runs[place]["id"]
    assert attempt.attributes["mainspring.node"] == "a"


def test_the_attempts_at_what_a_tick_has_started_are_one_trace(traced: TracedNode) -> None:
    query = traced.receiver.wait_for("select in tick")[0]
    spans = [span for span in traced.receiver.spans if span.trace_id == query.trace_id]
    (requested,) = [span for span in spans if span.name == "enqueue ticking"]
    first, second = sorted((span for span in spans if span.name == "ticking"), key=lambda span: not span.failed)

    assert (requested.parent_id, requested.attributes["mainspring.trigger"]) == ("", "interval")
    assert (first.parent_id, second.parent_id) == (requested.span_id, requested.span_id)
    assert (first.failed, second.failed) == (True, False)
    assert [span.attributes["mainspring.attempt"] for span in (first, second)] == ["1", "2"]
    assert query.parent_id == second.span_id


@pytest.mark.parametrize("place", PLACES)
def test_a_log_record_of_a_handler_says_where_it_belongs(traced: TracedNode, place: str) -> None:
    line, run = traced.said[place], traced.runs[place]

    assert (line["job"], line["execution"], line["attempt"], line["node"], line["traceId"]) == (
        f"in-{place}", run["id"], 1, "a", TRACE,
    )  # fmt: skip
