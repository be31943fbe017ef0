"""Where spans go: set up by OpenTelemetry's own names, only where they are set, and only once a process.

A program that has set a tracer provider keeps it; `opentelemetry-instrument` and `ddtrace-run` do so before anything of
ours runs. See docs/traces.md.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import threading
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.world import World

FLUSH_SECONDS: Final = 3.0
"""How long a process that ends waits for its last spans to go out; a collector that does not answer gets no more."""

_logger = logging.getLogger(__name__)
# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN: Final = "http/protobuf"


@functools.cache
def set_up_trace_export(*, node: str, service: str = "mainspring") -> None:
    """Set the tracer provider that the environment asks for; without a word of it, nothing is imported.

    It is asked for by `OTEL_EXPORTER_OTLP_ENDPOINT` (or that of traces), or by `OTEL_TRACES_EXPORTER=otlp`. What such
    names ask for and cannot be done is told in the log, and jobs run without traces: they are other programs' names,
    and may be meant for those. Datadog's own tracer is never imported here: `ddtrace-run` brings it.

    Args:
        node: The name of the node, which tells its spans from those of others.
        service: What the spans are said to be of, where `OTEL_SERVICE_NAME` says nothing.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    if os.environ.get("DD_TRACE_OTEL_ENABLED", "").lower() in {"1", "true"}:
        _logger.warning(
            "DD_TRACE_OTEL_ENABLED asks for Datadog's tracer, which has to be there before anything else: install "
            "'mainspring[datadog]' and start with `ddtrace-run mainspring serve`, or send to the agent by OTLP"
        )
    elif _wants_otlp(os.environ):
        _set_up_otlp(node, service)


def flush_traces(world: World, seconds: float = FLUSH_SECONDS) -> None:
    """Hand over the spans that wait, and return when that is done or `seconds` have passed; never on the event loop.

    The thread is a daemon, because exporters try again for longer than anybody should wait for the end of a process.
    """
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is None:
        return
    done = threading.Event()

    def hand_over() -> None:
        try:
            flush()
        except Exception:
            _logger.exception("the last spans of this process could not be handed over")
        finally:
            done.set()

    world.start_thread(hand_over, name="mainspring-flush-traces")
    if not done.wait(seconds):
        _logger.warning("the last spans of this process were not taken within %g s and are lost", seconds)


def _wants_otlp(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    endpoint = next((environment[name] for name in _ENDPOINTS if environment.get(name)), None)
    exporter = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if endpoint else "none")
    return exporter == "otlp"


def _set_up_otlp(node: str, service: str) -> None:
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _SPOKEN)
    if protocol != _SPOKEN:
        _logger.warning(
            "the environment asks for OTLP by %s, and mainspring speaks %s: set OTEL_EXPORTER_OTLP_PROTOCOL to that, "
            "and the endpoint to the HTTP port of the collector, 4318 by custom",
            protocol,
            _SPOKEN,
        )
    elif not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        _logger.warning(
            "the environment asks for traces by OTLP, which needs a package that is not installed: "
            "pip install 'mainspring[otel]'"
        )
    else:
        try:
            _export_by_otlp(node, service)
        except Exception:
            _logger.exception("the environment asks for traces by OTLP, which cannot be set up; jobs run without them")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _export_by_otlp(node: str, service: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource({"service.name": service, "service.instance.id": node})
    resource = Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
    # Not at exit: it would wait half a minute for a collector that does not answer. `flush_traces` does it before.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
