"""`replays`: run again what failed with one error, and see how that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from mainspring.cli import instants
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_record, print_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.app import Mainspring
    from mainspring.control.replays import ReplayCommands
    from mainspring.domain.access import Actor
    from mainspring.domain.replay import Replay

program = typer.Typer(help="Run again what failed with one error: start, list, show, cancel.", no_args_is_help=True)

IdArgument = Annotated[UUID, typer.Argument(metavar="ID", help="The replay.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why; it is kept in the audit.")]


@program.command()
def start(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job.")],
    fingerprint: Annotated[
        str, typer.Argument(metavar="FINGERPRINT", help="Of the error: the report of failures has it, and the breaker.")
    ],
    *,
    canary: Annotated[int, typer.Option(min=1, max=1_000, help="How many first; their ends decide.")] = 5,
    per_minute: Annotated[int, typer.Option(min=1, max=60_000, help="How many each minute then.")] = 60,
    stop_after: Annotated[int, typer.Option(min=1, help="Failures with the same error that stop it.")] = 1,
    code_version: Annotated[str | None, typer.Option(help="Only what this version of the application ran.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Only what failed since.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only what failed before.")] = None,
    reason: ReasonOption = None,
    app_path: AppOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run again what failed with one error: a few first, then at a rate, until the same error comes back."""
    from mainspring.control.replays import ReplayRequest
    from mainspring.domain.replay import ReplayPlan

    request = ReplayRequest(
        job_name=job,
        fingerprint=fingerprint,
        code_version=code_version,
        failed_from=None if since is None else instants.read(since),
        failed_until=None if until is None else instants.read(until),
        plan=ReplayPlan(canary, per_minute, stop_after),
        reason=reason,
    )
    _show(_change(app_path, lambda commands, actor: commands.start(actor, request)), as_json=as_json)


@program.command("list")
def list_replays(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 25,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List replays, the newest first."""

    async def work(app: Mainspring) -> list[Replay]:
        from mainspring.store.recovery import replays

        environment = app.settings.environment
        found, _total = await app.opened.database.read(
            lambda connection: replays.page(connection, environment, skip=0, size=limit)
        )
        return found

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(replay) for replay in found])
        return
    print_table(
        ("id", "job", "error", "status", "executions", "started", "succeeded", "failed so again", "by", "began"),
        (
            (
                replay.id,
                plain(replay.job_name),
                plain(replay.fingerprint),
                replay.status.value,
                replay.progress.requested,
                replay.progress.started,
                replay.progress.succeeded,
                replay.progress.failed_same,
                plain(replay.created_by),
                local_time(replay.created_at),
            )
            for replay in found
        ),
        empty="none",
        unbroken=1,
    )


@program.command()
def show(replay_id: IdArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Show a replay, and how far it has come."""

    async def work(app: Mainspring) -> Replay:
        from mainspring.control.replays import ReplayNotFoundError
        from mainspring.store.recovery import replays

        environment = app.settings.environment
        found = await app.opened.database.read(lambda connection: replays.get(connection, environment, replay_id))
        if found is None:
            raise ReplayNotFoundError(f"there is no replay {replay_id}: `mainspring replays list` lists them")
        return found

    _show(run_connected(lambda: app_or_store(app_path), work), as_json=as_json)


@program.command()
def cancel(
    replay_id: IdArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Start nothing more; what runs goes on, and what was not started may be replayed later."""
    _show(_change(app_path, lambda commands, actor: commands.cancel(actor, replay_id, reason=reason)), as_json=as_json)


def _change(app_path: str | None, change: Callable[[ReplayCommands, Actor], Awaitable[Replay]]) -> Replay:
    async def work(app: Mainspring) -> Replay:
        access = AccessAtTerminal.of(app)
        return await change(access.commands.replays, access.actor)

    return run_connected(lambda: app_or_store(app_path), work)


def _show(replay: Replay, *, as_json: bool) -> None:
    record = _record(replay)
    if as_json:
        print_json(record)
    else:
        print_record(record)


def _record(replay: Replay) -> dict[str, Any]:
    from mainspring.api.admin_replays import replay_json

    return replay_json(replay)
