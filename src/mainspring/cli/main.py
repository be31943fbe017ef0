"""The command `mainspring`: its tree of commands, and how their errors end."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mainspring.cli import (
    audit,
    cron,
    database,
    demo,
    doctor,
    dump,
    executions,
    init,
    job_schedules,
    key,
    notifications,
    serve,
    token,
    user,
)
from mainspring.cli.exit_codes import exit_code_of
from mainspring.errors import MainspringError

# Plain help: rich would double the time that `--help` takes.
program = typer.Typer(
    name="mainspring",
    help="Background jobs, schedules and their history, on the database you already have.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
program.command("serve", short_help="Run one node, with its API.")(serve.serve)
program.command("demo", short_help="Run the sample application on real data.")(demo.demo)
program.command("init", short_help="Write a first application.")(init.init)
program.add_typer(database.program, name="db")
program.add_typer(token.program, name="token")
program.add_typer(key.program, name="key")
program.add_typer(user.program, name="user")
program.add_typer(job_schedules.program, name="jobs")
program.add_typer(executions.program, name="executions")
program.add_typer(cron.program, name="cron")
program.add_typer(notifications.program, name="notifications")
program.add_typer(audit.program, name="audit")
program.command("doctor", short_help="Examine this deployment.")(doctor.doctor)
program.command("dump", short_help="Write the whole store as lines of JSON.")(dump.dump)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if wanted:
        from mainspring import __version__

        typer.echo(f"mainspring {__version__}")
        raise typer.Exit


@program.callback()
def _options(  # pyright: ignore[reportUnusedFunction] - registered
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Background jobs, schedules and their history, on the database you already have."""


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code.

    An error of ours is one message on standard error, with what happened and what to do; anything else that is raised
    is a defect, and keeps its traceback.
    """
    try:
        program(prog_name="mainspring")
    except MainspringError as error:
        typer.secho(f"mainspring: {error}", fg=_colour("red"), err=True)
        sys.exit(exit_code_of(error))


def _colour(name: str) -> str | None:
    return None if os.environ.get("NO_COLOR") else name  # https://no-color.org
