"""`check`: the Definition of Done for a user's CI."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mainspring.cli.application import AppOption, load_app
from mainspring.cli.exit_codes import ExitCode
from mainspring.cli.output import JsonOption, console, plain, print_json
from mainspring.domain.english import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.checking.rule import Finding

_COLOURS: Final = {"error": "red", "warning": "yellow"}


def check(
    app_path: AppOption = None,
    *,
    error: Annotated[list[str] | None, typer.Option("--error", metavar="CODE", help="Make it an error.")] = None,
    warning: Annotated[list[str] | None, typer.Option("--warning", metavar="CODE", help="Make it a warning.")] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", metavar="CODE", help="Leave it out.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail for warnings too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hold every job against the Definition of Done, and fail where an error is found.

    What a code means here is said by options, or for good by `[check]` in mainspring.toml; docs/check.md lists them.
    """
    from mainspring.checking.inspection import inspect
    from mainspring.checking.rule import Severity

    with redirect_stdout(sys.stderr):
        app = load_app(app_path)
        severities = {code: Severity(word) for code, word in app.settings.check.items()}
        for codes, severity in ((error, Severity.ERROR), (warning, Severity.WARNING), (ignore, Severity.OFF)):
            severities |= dict.fromkeys(codes or (), severity)
        findings = inspect(app.registry, severities)
    jobs = len(app.registry) - len(app.registry.built_in)
    failing = [each for each in findings if strict or each.severity is Severity.ERROR]
    if as_json:
        print_json({"ok": not failing, "jobs": jobs, "findings": [_as_json(each) for each in findings]})
    else:
        _draw(findings, jobs)
    if failing:
        raise typer.Exit(ExitCode.FAILED)


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "job": finding.job,
        "file": finding.file,
        "line": finding.line,
        "message": finding.message,
        "mend": finding.mend,
    }


def _draw(findings: Sequence[Finding], jobs: int) -> None:
    """Draw what was found, job by job: what is so, and beneath it what to do."""
    from rich.table import Table

    out, seen = console(), ""
    for finding in findings:
        if finding.job != seen:
            seen = finding.job
            out.print(f"\n[bold]{plain(finding.job)}[/]")
        colour = _COLOURS[finding.severity]
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=8, style=colour)
        grid.add_column(width=5)
        grid.add_column(overflow="fold")
        grid.add_row(finding.severity.value, finding.code, plain(finding.message))
        grid.add_row("", "", f"[bright_black]{plain(_place(finding))}[/]")
        grid.add_row("", "", f"[cyan]{plain(finding.mend)}[/]")
        out.print(grid)
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    told = f"{counted(jobs, 'job')}: {counted(errors, 'error')}, {counted(warnings, 'warning')}"
    out.print(f"\n[{'red' if errors else 'green'}]{told}[/]")


def _place(finding: Finding) -> str:
    if finding.file is None:
        return "nobody knows where it is declared"
    path = Path(finding.file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{finding.line}" if finding.line else str(shown)
