"""A stand-in for Sentry: takes envelopes over HTTP, reads them, and keeps their items.

https://develop.sentry.dev/sdk/data-model/envelopes/
"""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class EnvelopeReceiver:
    """What has arrived, and a way to wait for it.

    Attributes:
        text: Everything as it came, to look for what must not be there.
    """

    def __init__(self) -> None:
        self.text = ""
        self._items: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()

    def take(self, body: bytes) -> None:
        with self._news:
            self.text += body.decode()
            _, rest = body.split(b"\n", 1)
            while rest:
                head, rest = rest.split(b"\n", 1)
                header = json.loads(head)
                length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
                self._items.append((header["type"], json.loads(rest[:length])))
                rest = rest[length:].removeprefix(b"\n")
            self._news.notify_all()

    @property
    def events(self) -> list[dict[str, Any]]:
        with self._news:
            return [item for kind, item in self._items if kind == "event"]

    def events_of(self, job: str) -> list[dict[str, Any]]:
        """Return the events of a job."""
        return [event for event in self.events if event.get("tags", {}).get("job") == job]

    def check_ins(self, slug: str) -> list[dict[str, Any]]:
        """Return the check-ins of a monitor."""
        with self._news:
            return [item for kind, item in self._items if kind == "check_in" and item["monitor_slug"] == slug]

    def wait_until(self, seen: Callable[[], object]) -> None:
        """Wait until something has been seen."""
        with self._news:
            assert self._news.wait_for(seen, timeout=20), self._items


@contextmanager
def receiving_envelopes() -> Generator[tuple[str, EnvelopeReceiver]]:
    """Listen for as long as the block lasts; gives the DSN."""
    receiver = EnvelopeReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        RealWorld().start_thread(server.serve_forever, name="sentry")
        try:
            yield f"http://public-key@127.0.0.1:{server.server_port}/1", receiver
        finally:
            server.shutdown()
