"""`exec`: runs any program as a tracked job, for cron and for people."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from mainspring.cli import durations
from mainspring.cli.local_zone import zone_of_this_machine
from mainspring.domain.schedule import Cron, CronError, OnStartup, parse_schedule


def exec_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The job that the run belongs to.")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND …", help="The program, and its arguments.")],
    *,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="EXPR", help="When cron is to start it: silence is seen."),
    ] = None,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="The zone of --schedule; default: this machine's.")
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="How late a start may be before it is missed.")
    ] = "10m",
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="End the program after so long, such as 10m.")
    ] = None,
    retries: Annotated[int, typer.Option("--retries", min=0, max=100, help="Try again so often if it fails.")] = 0,
    lock: Annotated[
        str | None, typer.Option("--lock", metavar="KEY", help="Run only while nobody else holds this lock.")
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="Wait so long for the lock; else the run is skipped.")
    ] = "0",
) -> None:
    """Run a program, pass on what it writes, and end with its exit code; keep a record of the run.

    Where the database does not answer, the program runs without a record. It ends with 127 or 126 where the program
    is not there or cannot be run, with 124 after --timeout, with 0 and a warning where the lock is held.
    """
    from mainspring.builtin.tracked_execution import TrackedExecution
    from mainspring.builtin.tracked_program import TrackedProgram
    from mainspring.domain.retry import Retry
    from mainspring.settings import load_settings
    from mainspring.world import RealWorld

    program = TrackedProgram(
        name,
        tuple(command),
        schedule=_schedule(schedule, tz),
        grace=durations.read(grace),
        timeout=None if timeout is None else durations.read(timeout),
        retry=Retry(max_retries=retries),
        lock=lock,
        lock_wait=durations.read(wait),
    )

    async def run() -> int:
        return await TrackedExecution(program, load_settings, RealWorld(), _warn).run()

    # Standard error is the program's too, and becomes a mail of cron's: only what `_warn` says is for people.
    logging.getLogger("mainspring").addHandler(logging.NullHandler())
    with redirect_stdout(sys.stderr):  # standard output is the program's
        code = asyncio.run(run())
    raise typer.Exit(code)


def _schedule(expression: str | None, tz: str | None) -> Cron | None:
    if expression is None:
        return None
    try:
        schedule = parse_schedule(expression, tz or zone_of_this_machine())
    except CronError as error:
        raise typer.BadParameter(str(error), param_hint="--schedule") from error
    if isinstance(schedule, OnStartup):
        raise typer.BadParameter("@reboot has no instants that could be awaited: leave it out", param_hint="--schedule")
    return schedule


def _warn(text: str) -> None:
    typer.echo(f"mainspring exec: {text}", err=True)
