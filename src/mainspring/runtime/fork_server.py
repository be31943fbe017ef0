"""The node's side of the process that forks the children of its attempts."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from mainspring.runtime.fork_server_main import MAX_MESSAGE_BYTES
from mainspring.world import ends_within

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from mainspring.runtime.early_fork import ForkedServer
    from mainspring.world import World

_SERVER: Final = "mainspring.runtime.fork_server_main"
_PATIENCE_SECONDS: Final = 10.0
"""How long a child waits for a server that has just begun: after that, an interpreter of its own says what is wrong."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartedChild:
    """A process that runs.

    Attributes:
        pid: Its id, which is that of its group and session too.
        ended: Its exit code, or the number of a signal with a minus, once it has ended.
    """

    pid: int
    ended: asyncio.Future[int]


class ForkServer:
    """Starts children as forks of one process that has imported the application.

    Where the node has forked it off itself, it is there from the first child on. Else it begins when a second child is
    needed: one alone is no faster by it. Those that are needed while it imports the application wait for it, but not
    for an import that hangs.

    Args:
        world: Where tasks come from.
        app: `package.module:attribute`.
        forked: The server that the node has forked off itself.
    """

    def __init__(self, world: World, app: str, forked: ForkedServer | None = None) -> None:
        self._world = world
        self._app = app
        self._forked = forked
        self._is_possible = sys.platform == "linux"  # elsewhere a fork without a new program is not safe
        self._is_first = True
        self._beginning: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._connection: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._children: dict[int, asyncio.Future[int]] = {}

    async def fork(self, pipes: Sequence[int]) -> StartedChild | None:
        """Start a child.

        Args:
            pipes: The descriptors of its commands, answers, lifeline, output and errors.

        Returns:
            The child; None: it needs an interpreter of its own, because there is no server: not yet, not any more, or
            not for this application.

        Raises:
            OSError: The system starts no more processes.
        """
        if self._connection is None and self._forked is not None:
            self._use(self._forked.connection)
        if self._connection is None:
            self._begin_if_it_pays()
            if self._beginning is not None:
                await ends_within(self._world, self._beginning, _PATIENCE_SECONDS)
        if self._connection is None:
            return None
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self._connection, [orjson.dumps({"number": number})], list(pipes))
            pid = await asked
        except ConnectionError:
            return None
        finally:
            del self._asked[number]
        return StartedChild(pid, self._children[pid])

    async def close(self) -> None:
        """End the server; a child that still runs ends with its node."""
        self._is_possible = False
        self._drop_connection()
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.wait({self._beginning})
        self._part_with_forked()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _use(self, connection: socket.socket) -> None:
        self._connection = connection
        asyncio.get_running_loop().add_reader(connection, self._hear, connection)

    def _part_with_forked(self) -> None:
        if self._forked is not None:
            self._forked.close()
            self._forked = None

    def _begin_if_it_pays(self) -> None:
        is_beginning = self._beginning is not None and not self._beginning.done()
        if self._is_possible and not self._is_first and not is_beginning:
            self._beginning = self._world.spawn(self._begin(), name="fork server")
        self._is_first = False

    async def _begin(self) -> None:
        """Start the server, and use it from when it has imported the application."""
        loop = asyncio.get_running_loop()
        connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(0)
        with ExitStack() as failed:
            failed.callback(connection.close)
            with theirs:
                try:
                    self._process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-X", "faulthandler", "-m", _SERVER, str(theirs.fileno())),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=asyncio.subprocess.DEVNULL,
                        pass_fds=[theirs.fileno()],
                        start_new_session=True,
                    )
                except OSError as error:
                    _logger.warning("the process that forks children could not be started: %s", error)
                    return
            await loop.sock_sendall(connection, orjson.dumps({"app": self._app, "importPath": sys.path}))
            said = await loop.sock_recv(connection, MAX_MESSAGE_BYTES)
            refusal = orjson.loads(said)["refusal"] if said else "the process that should fork them has ended"
            if refusal is not None:
                self._is_possible = False
                _logger.info("child processes start as interpreters of their own: %s", refusal)
                return
            failed.pop_all()
        self._use(connection)

    def _hear(self, connection: socket.socket) -> None:
        """Take the news of one child."""
        try:
            said = connection.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._lose_all()
            return
        news = orjson.loads(said)
        if "pid" in news:
            self._children[news["pid"]] = asyncio.get_running_loop().create_future()
            if (asked := self._asked.get(news["number"])) is not None and not asked.done():
                asked.set_result(news["pid"])
        else:
            _settle(self._children.pop(news["ended"]), news["code"])

    def _lose_all(self) -> None:
        """Go on without the server, which ends when nobody has needed it for long; else its children are lost too."""
        self._drop_connection()
        self._part_with_forked()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(ConnectionResetError("the process that forks children has ended"))
        for pid, ended in self._children.items():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _settle(ended, -signal.SIGKILL)
        self._children.clear()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None


def _settle(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():
        ended.set_result(code)
