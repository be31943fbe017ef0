"""A process that has imported the application, and forks a child for each attempt.

`python -m mainspring.runtime.fork_server_main`, started by its node: a fork takes milliseconds, and importing an
application in a new interpreter takes seconds. The technique is that of `multiprocessing`'s fork server, with what it
leaves to the author looked at here: a process that has threads or open descriptors is not forked at all.
"""

from __future__ import annotations

import array
import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from mainspring.errors import DefinitionError
from mainspring.runtime import child_main

MAX_MESSAGE_BYTES: Final = 100_000
IDLE_SECONDS: Final = 600.0
"""After this long without a child the process ends: the next one that is asked for begins a new server."""
_DESCRIPTORS: Final = 5
_DESCRIPTOR_BYTES: Final = array.array("i").itemsize
_STANDARD: Final = 2
"""The highest of the descriptors that every process has: input, output, errors."""


def main() -> None:
    """Import what the node names, say whether this process can be forked, and fork as often as it asks."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    close_what_was_inherited(connection.fileno())
    # It comes from a service manager that stops the node, and the node then lets running work end.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    child_main.print_anything()
    application = orjson.loads(connection.recv(MAX_MESSAGE_BYTES))
    refusal = prepare(application["app"], application["importPath"], connection.fileno())
    connection.send(orjson.dumps({"refusal": refusal}))
    if refusal is None and (pipes := fork_on_request(connection)) is not None:
        become_child(*pipes)


def close_what_was_inherited(connection: int) -> None:
    """Close what the node's event loop has left open for every process that it starts, as uvloop does."""
    for descriptor in descriptors_beside(connection):
        with suppress(OSError):  # the one by which the folder was read
            os.close(descriptor)


def prepare(app: str, import_path: list[str], connection: int) -> str | None:
    """Import an application, and return why the process cannot be forked then; None: it can.

    Args:
        app: `package.module:attribute`.
        import_path: Where modules are found.
        connection: The descriptor that is meant to be open.
    """
    sys.path[:] = import_path
    try:
        child_main.find_application(app, "any")
    except DefinitionError:  # an interpreter of its own says why, to the attempt that needs it
        return f"{app!r} cannot be imported there"
    if (threads := sum(1 for _ in Path("/proc/self/task").iterdir())) > 1:
        return f"importing {app!r} starts threads ({threads - 1}), which a fork would lose"
    if left_open := open_descriptors(connection):
        return f"importing {app!r} leaves {', '.join(left_open)} open, which its children would share"
    if not hasattr(os, "pidfd_open"):
        return "this system tells nobody when a process has ended (pidfd_open)"
    gc.collect()
    gc.freeze()  # what nobody collects stays shared with the children
    return None


def open_descriptors(connection: int) -> list[str]:
    """Return what is open besides the standard descriptors and the connection to the node."""
    found: list[str] = []
    for descriptor in descriptors_beside(connection):
        with suppress(FileNotFoundError):  # the one by which the folder was read
            found.append(str(Path("/proc/self/fd", str(descriptor)).readlink()))
    return found


def descriptors_beside(connection: int) -> list[int]:
    """Return the numbers of all that is open but for the standard descriptors and the connection to the node."""
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    return [number for number in numbers if number > _STANDARD and number != connection]


def fork_on_request(connection: socket.socket, *, idle_seconds: float | None = IDLE_SECONDS) -> list[int] | None:
    """Fork for each request, and tell the node of each child's begin and end.

    Args:
        connection: To the node.
        idle_seconds: After how long without a child it ends; None: with its node.

    Returns:
        In the child, the descriptors that the node has sent for it; in the server, None, once it is to end.
    """
    children: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while ready := selector.select(None if children else idle_seconds):
            for key, _ in ready:
                if key.fd in children:
                    selector.unregister(key.fd)
                    connection.send(orjson.dumps(tell_end(key.fd, children.pop(key.fd))))
                    continue
                message, pipes = receive(connection)
                if not message:
                    return None
                sys.stdout.flush()  # or every child would print it again
                if (pid := os.fork()) == 0:
                    os.setsid()
                    connection.close()
                    for other in children:
                        os.close(other)
                    return pipes
                for pipe in pipes:
                    os.close(pipe)
                connection.send(orjson.dumps({"number": orjson.loads(message)["number"], "pid": pid}))
                children[selector.register(os.pidfd_open(pid), selectors.EVENT_READ).fd] = pid
    return None


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return a message and the descriptors that came with it; an empty one when the node is gone."""
    room = socket.CMSG_SPACE(_DESCRIPTORS * _DESCRIPTOR_BYTES)
    message, control, *_ = connection.recvmsg(MAX_MESSAGE_BYTES, room)
    pipes = array.array("i")
    for _, _, sent in control:
        pipes.frombytes(sent)
    return message, list(pipes)


def tell_end(watched: int, pid: int) -> dict[str, int]:
    """Return what the node is told of a child that has ended."""
    os.close(watched)
    _, status = os.waitpid(pid, 0)
    return {"ended": pid, "code": os.waitstatus_to_exitcode(status)}


def become_child(commands: int, answers: int, lifeline: int, output: int, errors: int) -> None:
    """Give this process what belongs to the child of one attempt alone, and carry the attempt out."""
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for descriptor, standard in ((output, 1), (errors, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    if (numpy := sys.modules.get("numpy")) is not None:
        reseed(numpy)
    sys.argv[1:] = map(str, (commands, answers, lifeline))  # as in an interpreter of its own
    child_main.main(commands, answers, lifeline)


def reseed(numpy: Any) -> None:  # noqa: ANN401 - a module that need not be installed
    """Give the child a state of chance of its own; the standard library does so by itself at each fork."""
    numpy.random.seed()


if __name__ == "__main__":
    main()
