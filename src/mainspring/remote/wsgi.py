"""A service in a WSGI server: beside the pages of Flask or Django, its work on a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.remote.endpoint import Head, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from mainspring.remote.background_loop import BackgroundLoop
    from mainspring.remote.endpoint import ServiceEndpoint


class ServiceWsgi:
    """A WSGI application (PEP 3333).

    Args:
        endpoint: What answers.
        loop: Where the work runs.
        answer_within: How long a call may wait for the end of the work before it is answered 202. Meanwhile it holds a
            thread of the server.
        inner: Answers every request that is not for the service.
    """

    def __init__(
        self,
        endpoint: ServiceEndpoint,
        loop: BackgroundLoop,
        *,
        answer_within: timedelta,
        inner: WSGIApplication | None,
    ) -> None:
        self._endpoint = endpoint
        self._loop = loop
        self._answer_seconds = answer_within.total_seconds()
        self._inner = inner

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        head = _head_of(environ)
        if self._inner is not None and not self._endpoint.is_call(head.path):
            return self._inner(environ, start_response)
        reply = self._endpoint.answer_to_head(head) or self._answer(head, environ)
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body)), **reply.headers}
        start_response(f"{int(reply.status)} {reply.status.phrase}", list(headers.items()))
        return [b"" if head.method == "HEAD" else reply.body]

    def _answer(self, head: Head, environ: WSGIEnvironment) -> Reply:
        length = int(head.headers.get("content-length", "0"))
        body = environ["wsgi.input"].read(length) if length else b""
        return self._loop.run(self._endpoint.answer_to_call(head, body, within=self._answer_seconds))


def _head_of(environ: WSGIEnvironment) -> Head:
    headers = {
        name[5:].replace("_", "-").lower(): str(value) for name, value in environ.items() if name.startswith("HTTP_")
    }
    if length := environ.get("CONTENT_LENGTH"):
        headers["content-length"] = str(length)
    return Head(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "") or "/", headers)
