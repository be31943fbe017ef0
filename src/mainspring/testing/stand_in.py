"""What stands in for parts of an application while it is under test, and makes way afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mainspring.domain.execution import Status
from mainspring.errors import MainspringError, NotRunningError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import timedelta
    from uuid import UUID

    from mainspring.app import Mainspring
    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.access import Scope
    from mainspring.domain.execution import Execution
    from mainspring.testing.application_kit import Kit


class CommandsUnderTest:
    """The application's commands, with a look at the executions that they change.

    Args:
        commands: The commands.
        own: The kit of the test.
        inline: Whether what is asked for runs before it is answered.
    """

    def __init__(self, commands: ExecutionCommands, own: Kit, *, inline: bool) -> None:
        self._commands = commands
        self._kit = own
        self._inline = inline

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the commands have
        return getattr(self._commands, name)

    async def enqueue(self, *arguments: Any, **options: Any) -> list[UUID]:  # noqa: ANN401 - as the commands take them
        """Ask for executions, and run them where the test wants that."""
        ids = await self._commands.enqueue(*arguments, **options)
        if self._inline:
            await self._kit.drain()
        return ids

    async def cancel(self, *arguments: Any, **options: Any) -> Execution:  # noqa: ANN401 - as the commands take them
        """Cancel an execution, at once where it runs."""
        execution = await self._commands.cancel(*arguments, **options)
        self._kit.look()
        return execution

    async def wait(self, scope: Scope, execution_id: UUID, *, timeout: timedelta | None) -> Execution:
        """Wait for an execution that has ended or runs; nobody would run another one meanwhile."""
        execution = await self._commands.get(scope, execution_id)
        if execution.status.is_final or execution.status is Status.RUNNING:
            return await self._commands.wait(scope, execution_id, timeout=timeout)
        raise WaitTimeoutError(
            f"execution {execution_id} of job {execution.job_name!r} is {execution.status}, and nothing runs by itself "
            "under test: `await kit.drain()` before you wait for it (a delay or retry also wants "
            "`kit.clock.advance(...)`), or let `enqueue` run it: `testing.kit(app, inline=True)`"
        )


def refuse_running(app: Mainspring) -> None:
    """Refuse an application that has a store already.

    Raises:
        MainspringError: It has.
    """
    try:
        _ = app.opened
    except NotRunningError:
        return
    raise MainspringError(
        "the application is connected or running already: enter `testing.kit(app)` instead of `app.running()`, and not "
        "twice at once"
    )


@contextmanager
def in_place_of(app: Mainspring, **stand_ins: object) -> Generator[None]:
    """Let an application use other settings and another world for a while, with what follows from its settings."""
    held = vars(app)
    names = (*stand_ins, "exports", "cipher")
    before = {name: held.pop(name) for name in names if name in held}
    held.update(stand_ins)
    try:
        yield
    finally:
        for name in names:
            held.pop(name, None)
        held.update(before)
