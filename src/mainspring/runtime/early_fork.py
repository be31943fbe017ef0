"""The process that forks children, forked off a node's own before that has a thread, an event loop or a connection.

Then it costs milliseconds and little memory, because the node has imported the application anyway; and the first child
of the node starts as fast as any other. A node that takes over what a dead one ran needs children at once.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType

_logger = logging.getLogger(__name__)


class ForkedServer:
    """A process that forks children of an application which its parent has imported.

    Args:
        pid: Its id.
        connection: On which it is asked; `fork_server_main` says what.
    """

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.connection = connection
        self.pid = pid
        self._is_reaped = False

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End it, if it has not ended; its children end with their node."""
        self.connection.close()
        if not self._is_reaped:
            self._is_reaped = True
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


def descriptors() -> set[int]:
    """Return what this process has open; nothing where the system does not say."""
    if sys.platform != "linux":
        return set()
    return {int(entry.name) for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


def fork_server(already_open: Collection[int]) -> ForkedServer | None:
    """Fork it off this process, which has just imported an application.

    Args:
        already_open: The descriptors that were open before the import: it closes them.

    Returns:
        The server; None: the application has started a thread, which a fork would lose, or has opened something,
        which its children would share. `fork_server_main` then says which, once a child is needed.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or _threads() > 1:
        return None
    if descriptors() - set(already_open):
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or it would be printed twice
    try:
        pid = os.fork()
    except OSError as error:
        ours.close()
        theirs.close()
        _logger.warning("the process that forks children could not be started: %s", error)
        return None
    if pid == 0:
        ours.close()
        _serve(theirs)
    theirs.close()
    ours.settimeout(0)
    return ForkedServer(pid, ours)


def _threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())  # native ones too, of which Python does not know


def _serve(connection: socket.socket) -> NoReturn:
    """Fork for as long as the node asks; then, in the server as in each child, end the process and return to nobody."""
    code = 1
    try:
        _settle(connection)
        # Not imported by the node, which has no use for it, and whose start would wait for it.
        from mainspring.runtime import child_main, fork_server_main

        child_main.print_anything()
        gc.freeze()  # and what was loaded here, for the children
        if (pipes := fork_server_main.fork_on_request(connection, idle_seconds=None)) is not None:
            fork_server_main.become_child(*pipes)
        code = 0
    except BaseException:  # noqa: BLE001 - beyond is the program of the parent, which must not run twice
        traceback.print_exc()
    finally:
        _end(code)


def _settle(connection: socket.socket) -> None:
    """Give this process what belongs to one of its own: as a new interpreter has it, but for what is imported."""
    os.setsid()
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # a node that is stopped lets running work end
    sys.stdout = sys.__stdout__
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for standard in (0, 1):
            os.dup2(nothing.fileno(), standard)
    for descriptor in descriptors() - {0, 1, 2, connection.fileno()}:
        with suppress(OSError):  # the one by which the folder was read
            os.close(descriptor)
    faulthandler.enable()
    gc.freeze()  # a collector that walks what the node has loaded would copy it
    gc.enable()


def _end(code: int) -> NoReturn:
    """End the process as an interpreter ends: its threads first, then what was asked for at its exit."""
    try:
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - as `multiprocessing` ends the processes that it forks
        atexit._run_exitfuncs()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to them
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)
