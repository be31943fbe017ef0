"""One node with its API in the running event loop: how `serve` and `demo` start it, and how it drains."""

from __future__ import annotations

import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.errors import ConfigurationError, MainspringError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Generator, Sequence

    from fastapi import FastAPI

    from mainspring.app import Mainspring
    from mainspring.runtime.node import Node

DEFAULT_PORT: Final = 7007
_BACKLOG: Final = 2048
_TICK_SECONDS: Final = 1.0


class AddressInUseError(MainspringError):
    """Another program listens where the API was to."""

    code = "ADDRESS_IN_USE"


@dataclass(frozen=True, slots=True)
class Served:
    """A node that is up.

    Attributes:
        node: It.
        name: What it is called.
        roles: What it does.
        url: Where its API answers; None: it has none.
    """

    node: Node
    name: str
    roles: tuple[str, ...]
    url: str | None

    def as_ready_line(self) -> dict[str, Any]:
        """Return what `serve` says first (contract §3)."""
        from mainspring import __version__

        return {
            "event": "ready",
            "node": self.name,
            "url": self.url,
            "pid": os.getpid(),
            "version": __version__,
            "roles": list(self.roles),
        }


def read_roles(text: str) -> tuple[str, ...]:
    """Return the roles that are named, separated by commas.

    Raises:
        ConfigurationError: One is unknown, or none is named.
    """
    from mainspring.runtime.node import ROLES

    roles = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise ConfigurationError(f"--roles {text!r}: give one or more of {', '.join(ROLES)}, separated by commas")
    return roles


@asynccontextmanager
async def serving(app: Mainspring, *, host: str, port: int, roles: Sequence[str]) -> AsyncGenerator[Served]:
    """Serve a node for as long as the block lasts, then drain it; the API answers until the node has stopped.

    Args:
        app: The application.
        host: The address that the API is bound to.
        port: Its port; 0 picks a free one.
        roles: What the node does; without `api` nothing is bound.

    Raises:
        ConfigurationError: A setting is missing or wrong.
        AddressInUseError: The port is taken.
        StoreError: The database is not there, or not of this build's schema.
    """
    from mainspring.security.secret_key import LOOPBACK, secret_key_in_force

    # Asked for by every node, not only by those with an API: the key of a cluster must not depend on the roles.
    secret_key_in_force(app.settings, app.world, host=host if "api" in roles else LOOPBACK)
    async with AsyncExitStack() as stack:
        listener, api = None, None
        if "api" in roles:
            from mainspring.api.app import create_api

            api = create_api(app, host=host)
            listener = stack.enter_context(_listening(host, port))
        await stack.enter_async_context(app.connected())
        async with AsyncExitStack() as while_node_runs:
            node = await while_node_runs.enter_async_context(app.running(roles=roles))
            if listener is None or api is None:
                yield Served(node, app.settings.node, tuple(roles), None)
                return
            api.state.node = node
            await stack.enter_async_context(_http_server(app, api, listener))
            app.api_url = _url(host, listener)
            stack.callback(setattr, app, "api_url", None)
            # What a start does without, so that hardly any program has to wait for it; people load the dashboard.
            loading = app.world.spawn(api.state.doors.load(), name="mainspring-doors")
            stack.callback(loading.cancel)
            yield Served(node, app.settings.node, tuple(roles), app.api_url)
            api.state.draining = True
            if api.state.pages is not None:
                api.state.pages.state.draining = True


@contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise AddressInUseError(
                f"the API cannot listen on {host} port {port}: {error.strerror}. Choose another --port; 0 picks one"
            ) from error
        listener.listen(_BACKLOG)
        yield listener


@asynccontextmanager
async def _http_server(app: Mainspring, api: FastAPI, listener: socket.socket) -> AsyncGenerator[None]:
    import uvicorn

    from mainspring.store.engine.signals import Wakeup

    stop = Wakeup()

    class Server(uvicorn.Server):
        """A server in somebody else's event loop, which leaves the signals to that, and looks up once a second.

        uvicorn's own loop looks ten times as often whether it is to stop: a tenth of all that an idle node does.
        """

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

        async def main_loop(self) -> None:
            while not await self.on_tick(0):
                await stop.sleep(_TICK_SECONDS)

    config = uvicorn.Config(
        api,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
        proxy_headers=False,
    )
    server = Server(config)
    running: asyncio.Task[None] = app.world.spawn(server.serve(sockets=[listener]), name="mainspring-http")
    while not server.started and not running.done():
        await app.world.sleep(0.005)
    try:
        if running.done():
            await running
        yield
    finally:
        server.should_exit = True
        stop.set()
        await running


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
