"""`breakers`: which jobs are held back because they keep failing, and the hand on that switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, plain, print_json, print_record, print_table

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.engine.database import Connection

program = typer.Typer(help="Breakers of jobs: list, hold open, close.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why; it is kept in the audit.")]


@program.command("list")
def list_breakers(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List the breakers of all jobs that declare one."""

    async def work(app: Mainspring) -> list[dict[str, Any]]:
        from mainspring.api.admin_breakers import breaker_json
        from mainspring.store.recovery import job_breakers

        environment = app.settings.environment

        def read(connection: Connection) -> list[dict[str, Any]]:
            names = job_breakers.declared(connection, environment)
            kept = job_breakers.find(connection, environment, names)
            return [breaker_json(name, kept.get(name)) for name in names]

        return await app.opened.database.read(read)

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("job", "state", "failures", "next probe", "held by", "last error"),
        (
            (
                plain(item["jobName"]),
                item["state"],
                item["failures"],
                item["until"],
                None if item["heldBy"] is None else plain(item["heldBy"]),
                None if item["lastError"] is None else plain(item["lastError"]),
            )
            for item in found
        ),
        empty="no job declares a breaker: @app.job(..., breaker=CircuitBreaker())",
    )


@program.command()
def hold(
    job: JobArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Start no execution of a job, and no probe, until somebody closes its breaker; what runs goes on."""
    _set(app_path, job, reason, opens=True, as_json=as_json)


@program.command()
def close(
    job: JobArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Let what waits for the breaker of a job go on, and count its failures anew."""
    _set(app_path, job, reason, opens=False, as_json=as_json)


def _set(app_path: str | None, job: str, reason: str | None, *, opens: bool, as_json: bool) -> None:
    async def work(app: Mainspring) -> dict[str, Any]:
        from mainspring.api.admin_breakers import breaker_json

        access = AccessAtTerminal.of(app)
        breakers = access.commands.breakers
        change = breakers.hold_open if opens else breakers.close
        return breaker_json(job, await change(access.actor, job, reason=reason))

    record = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json(record)
    else:
        print_record(record)
