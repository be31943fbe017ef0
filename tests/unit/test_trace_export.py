"""Where spans go: what the environment asks for, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from mainspring.observability import trace_export
from mainspring.observability.trace_export import flush_traces
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = """
import json, sys
from opentelemetry import trace
from mainspring.observability.trace_export import set_up_trace_export
{before}
set_up_trace_export(node="a")
provider = trace.get_tracer_provider()
print(json.dumps({{
    "provider": type(provider).__module__,
    "loaded": sorted({{"opentelemetry.sdk", "ddtrace", "requests"}} & set(sys.modules)),
    "resource": dict(provider.resource.attributes) if hasattr(provider, "resource") else {{}},
    "own": provider is globals().get("own"),
}}))
"""
OWN_PROVIDER = """
from opentelemetry.sdk.trace import TracerProvider
own = TracerProvider()
trace.set_tracer_provider(own)
"""


def set_up_with(before: str = "", **environment: str) -> dict[str, Any]:
    """Set the export up in a process of its own, and return what came of it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DD_"))}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        check=True,
        capture_output=True,
        text=True,
        env=inherited | environment,
    )
    return json.loads(ended.stdout)


def test_where_nobody_asks_for_traces_nothing_is_loaded() -> None:
    seen = set_up_with()

    assert (seen["provider"], seen["loaded"]) == ("opentelemetry.trace", [])


def test_an_endpoint_asks_for_otlp_and_the_names_of_opentelemetry_win_over_ours() -> None:
    seen = set_up_with(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_RESOURCE_ATTRIBUTES="service.name=shop,team=mail"
    )

    assert seen["provider"] == "opentelemetry.sdk.trace"
    assert "ddtrace" not in seen["loaded"]
    resource = seen["resource"]
    assert (resource["service.name"], resource["service.instance.id"], resource["team"]) == ("shop", "a", "mail")


def test_a_program_that_has_set_a_provider_keeps_it() -> None:
    assert set_up_with(OWN_PROVIDER, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")["own"]


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """Ask for an export that cannot be had, and return what the log says."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "DD_"))]:
        monkeypatch.delenv(name)

    def ask(**environment: str) -> list[str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("mainspring.observability.trace_export._is_installed", is_not_installed)
        trace_export.set_up_trace_export.__wrapped__(node="a")
        return [record.getMessage() for record in caplog.records]

    return ask


def is_not_installed(_module: str) -> bool:
    return False


OTLP = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}
ASKED_IN_VAIN = {
    "a package that is missing": (OTLP, "pip install 'mainspring[otel]'"),
    "Datadog's, which is not there yet": (
        {"DD_TRACE_OTEL_ENABLED": "true"},
        "start with `ddtrace-run mainspring serve`",
    ),
    "another protocol": (OTLP | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "mainspring speaks http/protobuf"),
}


@pytest.mark.parametrize(("environment", "said"), ASKED_IN_VAIN.values(), ids=ASKED_IN_VAIN)
def test_what_cannot_be_done_is_told_with_the_way_out(
    set_up: Callable[..., list[str]], environment: dict[str, str], said: str
) -> None:
    (line,) = set_up(**environment)

    assert said in line


@pytest.mark.parametrize(
    "environment",
    [OTLP | {"OTEL_SDK_DISABLED": "true"}, OTLP | {"OTEL_TRACES_EXPORTER": "none"}, {"DD_TRACE_OTEL_ENABLED": "false"}],
)
def test_what_is_switched_off_is_left_off(set_up: Callable[..., list[str]], environment: dict[str, str]) -> None:
    assert set_up(**environment) == []


class SlowProvider(trace.NoOpTracerProvider):
    """A provider whose collector does not answer until the test says so."""

    def __init__(self) -> None:
        self.answer = threading.Event()

    def force_flush(self) -> None:
        self.answer.wait()


def test_a_collector_that_does_not_answer_does_not_keep_a_process_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    provider = SlowProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)

    world = RealWorld()
    began = world.monotonic()
    flush_traces(world, seconds=0.01)
    waited = world.monotonic() - began
    provider.answer.set()

    assert waited < 5
    assert "were not taken within 0.01 s" in caplog.text
