"""A collector for spans: OTLP over HTTP, protobuf read, kept by name."""

from __future__ import annotations

import gzip
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True)
class Span:
    """A span as it arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    service: str
    attributes: dict[str, str]
    failed: bool


class OtlpReceiver:
    """What has arrived, and a way to wait for it.

    Attributes:
        called_with: The header `traceparent` of each GET: the receiver is also a service that jobs call.
    """

    def __init__(self) -> None:
        self.called_with: list[str | None] = []
        self._spans: list[Span] = []
        self._news = threading.Condition()

    @property
    def spans(self) -> list[Span]:
        with self._news:
            return list(self._spans)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        with self._news:
            for resource in request.resource_spans:
                about = {item.key: item.value.string_value for item in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self._spans += [_read(span, about.get("service.name", "")) for span in scope.spans]
            self._news.notify_all()

    def wait_for(self, name: str, count: int = 1) -> list[Span]:
        """Return the spans of a name, once so many have arrived."""

        def named() -> list[Span]:
            return [span for span in self._spans if span.name == name]

        with self._news:
            assert self._news.wait_for(lambda: len(named()) >= count, timeout=20), (
                f"{name} has not arrived, only {[span.name for span in self._spans]}"
            )
            return named()


def _read(span: SpanMessage, service: str) -> Span:
    attributes = {item.key: item.value.string_value or str(item.value.int_value) for item in span.attributes}
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        attributes=attributes,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
    )


@contextmanager
def receiving_spans() -> Generator[tuple[str, OtlpReceiver]]:
    """Listen for as long as the block lasts; gives the endpoint for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            receiver.called_with.append(self.headers["traceparent"])
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        RealWorld().start_thread(server.serve_forever, name="collector")
        try:
            yield f"http://127.0.0.1:{server.server_port}", receiver
        finally:
            server.shutdown()
