"""The shop behind a real HTTP server: the dashboard at its usual address, and once more under a sub-path."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from mainspring.api.app import create_api
from mainspring.web.app import dashboard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from starlette.types import ASGIApp

    from mainspring import Mainspring

DASHBOARD: Final = "/ui"
SUB_PATH: Final = "/ops/jobs"


class _Server(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def served(app: Mainspring) -> AsyncGenerator[str]:
    """Serve an application that runs, for as long as the block lasts.

    Returns:
        Where: `DASHBOARD` is the one of the API, `SUB_PATH` the one that another program has mounted.
    """
    api = create_api(app)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(api.router.lifespan_context(api))
        program = Starlette(routes=[Mount(SUB_PATH, dashboard(app)), Mount("/", api)])
        yield await stack.enter_async_context(listening(app, program))


@asynccontextmanager
async def listening(app: Mainspring, program: ASGIApp) -> AsyncGenerator[str]:
    """Serve any program at a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _Server(uvicorn.Config(program, lifespan="off", log_config=None, access_log=False))
        running = app.world.spawn(server.serve(sockets=[listener]), name="server of the browser's tests")
        async with asyncio.timeout(10):
            while not server.started:
                await app.world.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
