"""`/docs`: every route on one page of ours, without a script and without a foreign host; `/openapi.json` for programs.

What both are made from is half a second of work, once a process: on a thread, so that no job on the event loop waits.
"""

from __future__ import annotations

import base64
import hashlib
import html
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from mainspring.api.callers import allow_this_machine_or_readers
from mainspring.api.responses import json_response

router = APIRouter()

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid #8884; }
code { font: .9em ui-monospace, monospace; white-space: nowrap; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"


@router.get("/docs", include_in_schema=False, dependencies=[Depends(allow_this_machine_or_readers)])
async def documentation(request: Request) -> Response:
    """Show every route."""
    document = await run_in_threadpool(request.app.openapi)
    return HTMLResponse(_page(document), headers={"Content-Security-Policy": _POLICY})


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe every route for programs; below a host's path, the addresses are below that."""
    document: dict[str, Any] = await run_in_threadpool(request.app.openapi)
    if mounted_at := request.scope.get("root_path", "").rstrip("/"):
        document = {**document, "servers": [{"url": mounted_at}]}
    return json_response(document)


def _page(document: dict[str, Any]) -> str:
    title = html.escape(f"{document['info']['title']} {document['info']['version']}")
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation.get('description') or operation['summary'])}</td></tr>"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><p>Send <code>Authorization: Bearer …</code> with a token of "
        '<code>mainspring token create</code>. The whole description, for programs: <a href="/openapi.json">'
        "openapi.json</a>.</p><table><tr><th>Method</th><th>Path</th><th>What it does</th></tr>"
        f"{rows}</table></body></html>"
    )
