"""Waiting for an execution with a progress bar, on standard error, so that the answer stays clean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from mainspring.errors import NotRunningError, WaitTimeoutError

if TYPE_CHECKING:
    from datetime import timedelta
    from uuid import UUID

    from mainspring.app import Mainspring
    from mainspring.domain.execution import Execution

_LOOK_SECONDS: Final = 0.2


async def wait_with_progress(app: Mainspring, execution_id: UUID, *, timeout: timedelta | None) -> Execution:
    """Return an execution when it has ended, and show how far it is until then.

    Raises:
        WaitTimeoutError: It has not ended after `timeout`; it goes on.
        NotRunningError: It waits, and no node is alive that could run it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    commands, actor = app.commands_and_actor()
    until = None if timeout is None else app.world.monotonic() + timeout.total_seconds()
    screen = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("queued", total=100)
        while True:
            execution = await commands.get(actor.scope, execution_id)
            told = execution.progress.message or ""
            bar.update(task, completed=execution.progress.percent, description=f"{execution.status} {told}".strip())
            if execution.status.is_final:
                return execution
            if until is not None and app.world.monotonic() >= until:
                raise WaitTimeoutError(
                    f"execution {execution_id} of job {execution.job_name!r} is still {execution.status} after "
                    f"{timeout}; it goes on: `mainspring executions show {execution_id}`"
                )
            if not await _some_node_is_alive(app):
                raise NotRunningError(
                    f"execution {execution_id} of job {execution.job_name!r} is {execution.status} and no node is "
                    "alive to run it: start one with `mainspring serve`"
                )
            await app.opened.signals.end_of(execution_id, _LOOK_SECONDS)


async def _some_node_is_alive(app: Mainspring) -> bool:
    from mainspring.store.upkeep import diagnosis

    environment = app.settings.environment
    return any(
        "worker" in node.roles and node.environment == environment
        for node in await app.opened.database.read(diagnosis.live_nodes)
    )
