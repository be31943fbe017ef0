"""`jobs health|backtest`: how jobs are doing and why, and what a rule would have told in the past."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mainspring.cli import durations
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.job_overrides import program
from mainspring.cli.jobs import NameArgument
from mainspring.cli.output import JsonOption, console, local_time, plain, print_json, print_table
from mainspring.domain.instants import instant_text
from mainspring.errors import JobNotFoundError

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.domain.rules.back_test import BackTest
    from mainspring.store.monitoring.health import JobHealth

_COLOURS: Final = {
    "healthy": "green", "failing": "red", "stale": "red", "late": "yellow", "slow": "yellow", "paused": "blue",
}  # fmt: skip
_SPANS: Final = frozenset({"staleness", "execution_time", "shortest_time"})


@program.command("health")
def show_health(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List how jobs are doing, and the rule and the figures that say so."""

    async def work(app: Mainspring) -> list[JobHealth]:
        from mainspring.store.monitoring import health

        environment = app.settings.environment
        return list((await app.opened.database.read(lambda connection: health.find(connection, environment))).values())

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(job) for job in found])
        return
    print_table(
        ("job", "state", "since", "last success", "why"),
        (
            (
                job.job_name,
                f"[{_COLOURS.get(job.health.state, 'dim')}]{job.health.state}[/]",
                local_time(job.since),
                local_time(job.last_success_at),
                plain(job.health.sentence),
            )
            for job in found
        ),
        empty="no monitor has looked at any job yet: is a node with the monitor role running?",
    )


@program.command("backtest")
def back_test(
    name: NameArgument,
    rule: Annotated[str, typer.Option(metavar="RULE", help="Such as staleness or consecutive_failures.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far back.")] = 90,
    limits: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="LIMIT=VALUE", help="Another limit, such as consecutive_failures=5; again."),
    ] = None,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say how often a rule would have told something of a job, and when, before you set it."""
    from datetime import timedelta

    from mainspring.domain.rules.back_test import TESTED

    tested = next((known for known in TESTED if known == rule), None)
    if tested is None:
        raise typer.BadParameter(f"{rule!r} is none of {', '.join(TESTED)}", param_hint="--rule")
    changes = dict(_limit(text) for text in limits or ())

    async def work(app: Mainspring) -> BackTest:
        from mainspring.store.monitoring import health_back_test

        environment, database = app.settings.environment, app.opened.database
        in_force = await database.read(
            lambda connection: health_back_test.thresholds_in_force(connection, environment, name)
        )
        result = await database.read(
            lambda connection: health_back_test.run(
                connection, environment, name, tested, span=timedelta(days=days),
                thresholds=None if in_force is None else replace(in_force, **changes),
            )
        )  # fmt: skip
        if result is None:
            raise JobNotFoundError(
                f"no job is called {name!r} in the environment {environment!r}: `mainspring jobs list`"
            )
        return result

    _print(run_connected(lambda: app_or_store(app_path), work), as_json=as_json)


def _print(result: BackTest, *, as_json: bool) -> None:
    if as_json:
        alerts = [
            {
                "openedAt": instant_text(alert.opened_at),
                "resolvedAt": instant_text(alert.resolved_at),
                "sentence": alert.sentence,
            }
            for alert in result.alerts
        ]
        print_json({"rule": result.rule, "sentence": result.sentence, "runs": result.runs, "alerts": alerts})
        return
    console().print(result.sentence)
    if result.alerts:
        print_table(
            ("opened", "resolved", "what it would have said"),
            (
                (local_time(alert.opened_at), local_time(alert.resolved_at) or "still open", plain(alert.sentence))
                for alert in result.alerts
            ),
            empty="",
        )


def _limit(text: str) -> tuple[str, Any]:
    """Return a limit given as `NAME=VALUE`, by the names of `Thresholds`.

    Raises:
        typer.BadParameter: There is no such limit, or that is no value of it.
    """
    from mainspring.domain.thresholds import Thresholds

    name, _, value = text.partition("=")
    kinds = {field.name: str(field.type) for field in fields(Thresholds)}
    if name not in kinds:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(kinds)}", param_hint="--set")
    if name in _SPANS:
        return name, durations.read(value)
    try:
        return name, float(value) if "float" in kinds[name] else int(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is no number for {name}", param_hint="--set") from error


def _record(job: JobHealth) -> dict[str, Any]:
    return {
        "name": job.job_name,
        "state": job.health.state,
        "rule": job.health.rule,
        "sentence": job.health.sentence,
        "figures": dict(job.health.figures),
        "since": instant_text(job.since),
        "staleAt": instant_text(job.health.stale_at),
        "lastRunAt": instant_text(job.last_run_at),
        "lastSuccessAt": instant_text(job.last_success_at),
        "lastFailureAt": instant_text(job.last_failure_at),
        "consecutiveFailures": job.streak.failures,
    }
