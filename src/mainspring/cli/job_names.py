"""`jobs names`: the names of an application's jobs as a type, so that an editor refuses a misspelt one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli.application import AppOption, load_app
from mainspring.cli.job_pauses import program
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from collections.abc import Sequence


class JobNamesOutdatedError(MainspringError):
    """A module of job names is not what the application's jobs are called now."""

    code = "JOB_NAMES_OUTDATED"


@program.command()
def names(
    app_path: AppOption = None,
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the module to this file.")] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only say whether that file is up to date, for a CI.")] = False,
) -> None:
    """Print a module with the literal type `JobName`: every name of the application's jobs.

    With `name: JobName` in a signature a type checker refuses a name that no job has, and an editor completes it.
    """
    if check and write is None:
        raise typer.BadParameter("say with --write FILE which file is to be checked", param_hint="--check")
    module = module_of(load_app(app_path).registry.names())
    if write is None:
        typer.echo(module, nl=False)
    elif not check:
        write.write_text(module, encoding="utf-8")
        typer.echo(f"wrote {write}")
    elif not write.exists() or write.read_text(encoding="utf-8") != module:
        raise JobNamesOutdatedError(
            f"{write} does not hold the names of the jobs: run `mainspring jobs names --write {write}`, and commit it"
        )


def module_of(job_names: Sequence[str]) -> str:
    """Return the source of a module that declares `JobName`.

    Args:
        job_names: The names, in any order; at least one.

    Example:
        >>> print(module_of(["weekly-digest", "greet"]).partition("JobName")[2])
        : TypeAlias = Literal[
            "greet",
            "weekly-digest",
        ]
        <BLANKLINE>
    """
    listed = "".join(f"    {json.dumps(name)},\n" for name in sorted(job_names))
    return (
        '"""The names of this application\'s jobs, made by `mainspring jobs names`."""\n\n'
        f"from typing import Literal, TypeAlias\n\nJobName: TypeAlias = Literal[\n{listed}]\n"
    )
