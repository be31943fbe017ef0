"""Receivers on loopback that behave well, badly or not at all."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mainspring.egress.client import Egress
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]
    Receivers = Callable[..., Awaitable["Receiver"]]

CERTIFICATE = Path(__file__).with_name("receiver.pem")
"""The key and certificate of the name `receiver.test`, which nobody trusts but these tests."""


@dataclass(slots=True)
class Receiver:
    """A server on loopback, and what it was sent."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])

    def url(self, path: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def answer(body: bytes = b"ok", *, status: str = "200 OK", headers: Sequence[str] = ()) -> Behaviour:
    """Answer every request with this."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
        writer.write(head.encode() + b"\r\n" + body)
        await writer.drain()

    return behave


async def hang(_writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(behaviour: Behaviour, *, tls: bool = False, host: str = "127.0.0.1") -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            receiver.requests.append(head + await reader.readexactly(int(length.partition(b":")[2])))
            await behaviour(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            connections.discard(task)
            writer.close()

    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(serve, host, 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


@pytest.fixture
async def receive() -> AsyncIterator[Receivers]:
    """Start a receiver that behaves as told, until the test ends."""
    async with AsyncExitStack() as stack:

        async def start(behaviour: Behaviour, *, tls: bool = False) -> Receiver:
            return await stack.enter_async_context(serving(behaviour, tls=tls))

        yield start


@pytest.fixture
async def loopback() -> AsyncIterator[Egress]:
    """A client that may reach loopback."""
    egress = Egress(["127.0.0.1"], world=RealWorld())
    yield egress
    egress.close()
