"""A WSGI process that forks before it is called, or ends right after: started by `test_service_frameworks.py`."""

from __future__ import annotations

import io
import os
import sys
from datetime import timedelta
from typing import Any

from mainspring import RemoteService
from mainspring.world import RealWorld

way, scheduler_url, secret, path, *headers = sys.argv[1:]
body = sys.stdin.buffer.read()
service = RemoteService(
    "email-service",
    scheduler_url=scheduler_url,
    callback_url="http://email-service:7006",
    key="msk_the_key_of_the_tests",
    signing_secret=secret,
)


@service.job("slow")
def slow() -> str:
    """Take a moment: longer than the process has to go."""
    RealWorld().pause(0.2)
    return way


app = service.wsgi(answer_within=timedelta(0))
if way == "fork" and (child := os.fork()):
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
environ: dict[str, Any] = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": path,
    "CONTENT_LENGTH": str(len(body)),
    "wsgi.input": io.BytesIO(body),
}
for header in headers:
    name, _, value = header.partition("=")
    environ[f"HTTP_{name.upper().replace('-', '_')}"] = value


def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
    """Say how it was answered."""
    print(status.split(maxsplit=1)[0], flush=True)  # noqa: T201 - it is what the test reads


app(environ, start_response)
