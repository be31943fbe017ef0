"""`serve`: one node, from its ready line to its orderly end."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from mainspring.cli.application import AppOption, load_app
from mainspring.cli.exit_codes import ExitCode
from mainspring.cli.serving import DEFAULT_PORT, read_roles, serving
from mainspring.runtime import early_fork, interpreter

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from mainspring.app import Mainspring
    from mainspring.runtime.node import Node

_STANDARD_ERROR: Final = 2
_LAST_SECONDS: Final = 2.0
"""What is still running when all is closed has had its grace, and the time of a stop, before."""
_logger = logging.getLogger(__name__)


def serve(
    app_path: AppOption = None,
    host: Annotated[str, typer.Option(help="The address of the API.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 picks a free one.")] = DEFAULT_PORT,
    roles: Annotated[str, typer.Option(help="What this node does.")] = "api,worker,scheduler,monitor",
    node: Annotated[str | None, typer.Option(help="Its name; default: MAINSPRING_NODE, else the host's.")] = None,
    *,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a Python file changes.")] = False,
) -> None:
    """Run one node: the API, the jobs, the schedules, the watch over them.

    The first line on standard output is JSON and says that the node is ready. TERM and Ctrl-C drain: nothing new is
    started, running work gets MAINSPRING_SHUTDOWN_GRACE, the rest goes back to the queue; a second one hands back at
    once. QUIT writes the stacks of all threads to standard error.
    """
    chosen_roles = read_roles(roles)
    if node is not None:
        os.environ["MAINSPRING_NODE"] = node
    if reload:
        from mainspring.cli.reload import run_and_reload

        run_and_reload([argument for argument in sys.argv[1:] if argument != "--reload"])
        return
    with ExitStack() as until_end, ExitStack() as until_ready:
        until_ready.enter_context(interpreter.collecting_nothing())
        until_ready.enter_context(redirect_stdout(sys.stderr))  # nothing may precede the ready line
        already_open = early_fork.descriptors()
        app = load_app(app_path)
        if "worker" in chosen_roles and (forked := early_fork.fork_server(already_open)) is not None:
            app.forked = until_end.enter_context(forked)
        run_event_loop(_serve(app, host=host, port=port, roles=chosen_roles, until_ready=until_ready))


async def _serve(app: Mainspring, *, host: str, port: int, roles: Sequence[str], until_ready: ExitStack) -> None:
    stop = StopSignals()
    signal.signal(signal.SIGQUIT, _write_stacks)
    async with serving(app, host=host, port=port, roles=roles) as served:
        stop.node = served.node
        until_ready.close()
        sys.stdout.write(json.dumps(served.as_ready_line()) + "\n")
        sys.stdout.flush()
        await _tell_of_empty_house(app, served.url)
        await stop.wait()


def _write_stacks(*_signal: object) -> None:
    """Write where each thread is, between two steps of the interpreter.

    `faulthandler.register` would do so at once, and also while other threads run: that has killed a healthy node.
    """
    faulthandler.dump_traceback(_STANDARD_ERROR, all_threads=True)


async def _tell_of_empty_house(app: Mainspring, url: str | None) -> None:
    """Say how the first person gets in, where nobody can: the dashboard asks for a name that nobody has."""
    from mainspring.store.identity import users

    if url is not None and not await app.opened.database.read(users.exist):
        _logger.warning(
            "nobody can sign in to %s/ui/ yet: `mainspring user create NAME --role admin` makes the first person", url
        )


class StopSignals:
    """TERM and INT in the running event loop: the first asks to stop, each further one hands back what runs.

    Attributes:
        node: What runs, once it does.
    """

    def __init__(self) -> None:
        self.node: Node | None = None
        self._asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._receive)

    @property
    def is_asked(self) -> bool:
        """Whether somebody has asked to stop."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Return when somebody has asked to stop."""
        await self._asked.wait()

    def _receive(self) -> None:
        if self._asked.is_set() and self.node is not None:
            self.node.hand_back()
        self._asked.set()


def run_event_loop(work: Coroutine[object, object, None]) -> None:
    """Run `work` in a new event loop: uvloop's, where that is installed."""
    try:
        from uvloop import new_event_loop
    except ModuleNotFoundError:
        new_event_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)
        deaf = runner.run(_stop_the_rest())
        if deaf:
            _logger.error("these jobs swallow their cancellation, and end with this process: %s", ", ".join(deaf))
            _leave_at_once()


async def _stop_the_rest() -> list[str]:
    """Cancel what still runs, handlers that were left behind for one, and return the names of what does not end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        _, rest = await asyncio.wait(rest, timeout=_LAST_SECONDS)
    return sorted(task.get_name() for task in rest)


def _leave_at_once() -> NoReturn:
    """End the process although the event loop cannot be closed: it would wait for its tasks for ever."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.OK)
