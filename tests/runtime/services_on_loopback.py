"""A server on loopback that plays services: good ones, and such as answer badly, too much, too slowly or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.remote.protocol import CallbackRequest
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Behaviour = Callable[["Call"], Awaitable[None]]

TWO_GIGABYTES: Final = 2_000_000_000


@dataclass(slots=True)
class Call:
    """A call of the scheduler, and the way to answer it.

    Attributes:
        headers: By name in lower case.
        sent: How many bytes of answers went out.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    sent: int = 0

    @property
    def request(self) -> CallbackRequest:
        """What is asked for."""
        return CallbackRequest.from_bytes(self.body)

    async def answer(self, status: int, body: Any = None, **headers: str) -> None:
        """Answer at once."""
        content = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        await self.begin(status, len(content), **headers)
        await self.write(content)

    async def begin(self, status: int, length: int, **headers: str) -> None:
        """Send the head of an answer."""
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {length}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.write("\r\n".join([*lines, "\r\n"]).encode())

    async def write(self, part: bytes) -> None:
        """Send a part of an answer."""
        self.writer.write(part)
        await self.writer.drain()
        self.sent += len(part)


def succeed(**said: Any) -> Behaviour:
    """Answer with a result."""
    return lambda call: call.answer(200, {"success": True} | said)


def say(status: int, body: Any = None, **headers: str) -> Behaviour:
    """Answer with a status."""
    return lambda call: call.answer(status, body, **headers)


async def hang(_call: Call) -> None:
    """Take the call, and never answer."""
    await asyncio.Event().wait()


async def die(call: Call) -> None:
    """Break off in the middle of the answer."""
    await call.begin(200, 100)
    await call.write(b'{"success": tr')


async def flood(call: Call) -> None:
    """Answer two gigabytes."""
    await call.begin(200, TWO_GIGABYTES)
    chunk = b" " * 100_000
    while call.sent < TWO_GIGABYTES:
        await call.write(chunk)


async def drip(call: Call) -> None:
    """Answer a byte at a time, for ever."""
    await call.begin(200, 10_000)
    while True:
        await call.write(b" ")
        await RealWorld().sleep(0.05)


@dataclass(slots=True)
class Loopback:
    """The server.

    Attributes:
        behaviours: What is done by the service whose name the path begins with.
        calls: All calls so far.
    """

    port: int = 0
    behaviours: dict[str, Behaviour] = field(default_factory=dict[str, "Behaviour"])
    calls: list[Call] = field(default_factory=list[Call])
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    def url_of(self, service: str) -> str:
        """Return where a service answers."""
        return f"http://127.0.0.1:{self.port}/{service}"

    def calls_of(self, service: str) -> list[Call]:
        """Return the calls of a service."""
        return [call for call in self.calls if call.path.startswith(f"/{service}/")]

    async def start(self) -> None:
        """Listen, on the port of before where there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and break off what is being answered."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            call = await _read(reader, writer)
            self.calls.append(call)
            await self.behaviours[call.path.split("/")[1]](call)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the scheduler has gone, or the test is over
        finally:
            self._connections.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Call(first.split()[1], headers, body, writer)
