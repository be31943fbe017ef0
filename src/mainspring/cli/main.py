"""The command `mainspring`: its tree of commands, and how their errors end."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mainspring.cli.command_tree import CommandTree
from mainspring.cli.exit_codes import exit_code_of
from mainspring.errors import MainspringError

# Plain help: rich would double the time that `--help` takes.
program = typer.Typer(
    name="mainspring",
    cls=CommandTree,
    help="Background jobs, schedules and their history, on the database you already have.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
