"""`doctor`: whether this deployment can work, and what to do where it cannot."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli.application import AppOption, app_or_store
from mainspring.cli.exit_codes import ExitCode, exit_code_of
from mainspring.cli.output import JsonOption, plain, print_json, print_table
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mainspring.app import Mainspring
    from mainspring.builtin.self_check import Deployment
    from mainspring.builtin.self_check_finding import Finding, ScriptResult
    from mainspring.store.engine.database import Database

UrlOption = Annotated[
    str | None, typer.Option("--url", help="The API to ask for its health; default: MAINSPRING_PUBLIC_URL.")
]


def doctor(app_path: AppOption = None, url: UrlOption = None, *, as_json: JsonOption = False) -> None:
    """Examine this deployment, and end with the code of the first thing that is wrong.

    It asks what `platform-self-check` asks every night: the environment variables, the database, its schema, the API,
    and, where an application is named, the checks of that.
    """
    with redirect_stdout(sys.stderr):
        results = _examined(app_path, url)
    failures = _failures(results)
    if as_json:
        scripts = [_script_json(result) for result in results]
        checks = [_finding_json(result, each) for result in results for each in result.findings]
        print_json({"ok": not failures, "scripts": scripts, "checks": checks})
    else:
        _print(results)
    if failures:
        raise typer.Exit(failures[0])


def _examined(app_path: str | None, url: str | None) -> Sequence[ScriptResult]:
    from mainspring.builtin.self_check_finding import Finding, ScriptResult

    try:
        app = app_or_store(app_path)
        deployment = app.deployment()
    except MainspringError as error:  # without its settings, there is nothing to look at
        return [ScriptResult("validate-env", [Finding.of_error("settings and application", error)], 0.0)]
    return asyncio.run(_examine(app, deployment if url is None else replace(deployment, api_url=url)))


async def _examine(app: Mainspring, deployment: Deployment) -> Sequence[ScriptResult]:
    """Run the built-in scripts on the store as it is, and then the application's own with its store open."""
    from mainspring.builtin.self_check_finding import Finding, ScriptResult, ScriptStatus, Verdict
    from mainspring.builtin.self_check_run import ScriptRunner

    runner = ScriptRunner(deployment.world)
    untouched = replace(deployment, database=lambda: _database(deployment))
    results = [result async for result in runner.run(untouched.scripts())]
    checks = deployment.scripts_of_checks()
    if not checks:
        return results
    if any(result.status is ScriptStatus.FAILED for result in results if result.name in _NEEDED_BY_CHECKS):
        told = "it is asked with the store open, and that is not in order"
        return results + [ScriptResult(each.name, [Finding(each.name, Verdict.SKIPPED, told)], 0.0) for each in checks]
    async with app.connected():
        return results + [result async for result in runner.run(checks)]


_NEEDED_BY_CHECKS = frozenset({"validate-db", "validate-migrations"})


@asynccontextmanager
async def _database(deployment: Deployment) -> AsyncGenerator[Database]:
    """Open the store without making or upgrading anything, as the application would."""
    from mainspring.store.engine.database import open_database

    database = open_database(deployment.settings, deployment.world)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def _failures(results: Sequence[ScriptResult]) -> list[ExitCode]:
    """Return how the command would end because of each thing that is wrong."""
    from mainspring.builtin.self_check_finding import Verdict

    failed = [each for result in results for each in result.findings if each.verdict is Verdict.FAILED]
    return [ExitCode.FAILED if each.error is None else exit_code_of(each.error) for each in failed]


def _print(results: Sequence[ScriptResult]) -> None:
    colours = {"ok": "green", "passed": "green", "warning": "yellow", "skipped": "bright_black", "failed": "red"}
    rows = [
        (
            result.name if place == 0 else "",
            plain(each.check),
            f"[{colours[each.verdict]}]{each.verdict}[/]",
            plain(each.detail),
        )
        for result in results
        for place, each in enumerate(result.findings)
    ]
    print_table(("script", "check", "", "found"), rows, empty="nothing was asked", unbroken=3)


def _script_json(result: ScriptResult) -> dict[str, object]:
    return {"name": result.name, "status": result.status, "durationMs": round(result.seconds * 1000)}


def _finding_json(result: ScriptResult, finding: Finding) -> dict[str, object]:
    return {
        "script": result.name,
        "check": finding.check,
        "verdict": finding.verdict,
        "detail": finding.detail,
    }
