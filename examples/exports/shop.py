"""A shop whose customers export their orders: the reports, and a page beside the API, in one process.

`python shop.py` serves it; each customer is an organization, and sees its own orders alone.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import FileResponse

from mainspring import Mainspring
from mainspring.api.app import create_api
from mainspring.reports.source import ReportCaller

ORDERS = 50_000
FIRST_DAY = date(2024, 1, 1)
PAGE = Path(__file__).parent / "page"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

app = Mainspring()  # a SQLite file in the working directory, unless MAINSPRING_DATABASE_URL says otherwise


@app.report("orders")
async def orders(filters: dict[str, Any], caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
    """The orders of the organization that asks, by day."""
    first, last = filters.get("dateFrom", "0001-01-01"), filters.get("dateTo", "9999-12-31")
    for number in range(1, ORDERS + 1):
        day = (FIRST_DAY + timedelta(days=number * 366 // ORDERS)).isoformat()
        if first <= day <= last:
            yield {"order": f"{caller.organization_id}-{number:06}", "day": day, "pieces": 1 + number * 7 % 12}


@app.report("stock")
async def stock(_filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """What the shop has: the same rows for everybody, so that it need not ask who wants them."""
    for number in range(1, 201):
        yield {"article": f"A-{number:03}", "pieces": number * 13 % 97}


async def page(request: Request) -> FileResponse:
    """Serve a file of the page."""
    name = request.url.path.removeprefix("/") or "index.html"
    return FileResponse(PAGE / name, headers={"Content-Security-Policy": PAGE_POLICY})


async def serve(port: int) -> None:
    """Run the jobs, the API and the page until Ctrl-C."""
    async with app.running() as node:
        api = create_api(app, node=node)
        for name in ("", "page.css", "page.js", "jobs.js"):
            api.add_route(f"/{name}", page)
        config = uvicorn.Config(api, port=port, log_level="warning", timeout_graceful_shutdown=5)
        print(f"the shop is at http://localhost:{port}/")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7008)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
