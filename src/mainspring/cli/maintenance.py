"""`maintenance`: times in which alerts are watched and not told."""

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
    from mainspring.control.maintenance import MaintenanceCommands
    from mainspring.domain.access import Actor
    from mainspring.domain.silence import Silence

program = typer.Typer(help="Maintenance windows and mutes: plan, list, end.", no_args_is_help=True)

_TIME = "Such as 2h, or 2027-03-01T08:00 by this machine's clock."


@program.command()
def plan(
    *,
    until: Annotated[str, typer.Option(metavar="TIME", help=_TIME)],
    job: Annotated[str | None, typer.Option(help="Of this job alone.")] = None,
    group: Annotated[str | None, typer.Option(help="Of jobs of this group alone.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"{_TIME} By default now.")] = None,
    reason: Annotated[str | None, typer.Option(help="What is done.")] = None,
    app_path: AppOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a window in which alerts are not told: all of them, or those of a job or a group."""
    from mainspring.domain.silence import Coverage

    if job is not None and group is not None:
        raise typer.BadParameter("give --job or --group, not both")
    covers = Coverage.JOB if job is not None else Coverage.GROUP if group is not None else Coverage.ALL
    ends_at, starts_at = instants.read(until), None if since is None else instants.read(since)
    planned = _change(
        app_path,
        lambda own, actor: own.plan(actor, covers, job or group, starts_at=starts_at, ends_at=ends_at, reason=reason),
    )
    _show(planned, as_json=as_json)


@program.command("list")
def list_windows(
    *,
    mutes: Annotated[bool, typer.Option("--mutes", help="Mutes in place of maintenance windows.")] = False,
    closed: Annotated[bool, typer.Option("--closed", help="Those that are over, too.")] = False,
    app_path: AppOption = None,
    as_json: JsonOption = False,
) -> None:
    """List maintenance windows, the newest first."""

    async def work(app: Mainspring) -> list[Silence]:
        from mainspring.domain.silence import SilenceKind
        from mainspring.store.alerting import silences

        scope = app.commands_and_actor()[1].scope
        kind = SilenceKind.MUTE if mutes else SilenceKind.MAINTENANCE
        return await app.opened.database.read(
            lambda connection: silences.find(connection, scope, kind=kind, closed=closed)
        )

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(item) for item in found])
        return
    print_table(
        ("id", "covers", "target", "from", "to", "by", "reason"),
        (
            (
                item.id,
                item.covers.value,
                None if item.target is None else plain(item.target),
                local_time(item.starts_at),
                local_time(item.ends_at),
                plain(item.created_by),
                None if item.reason is None else plain(item.reason),
            )
            for item in found
        ),
        empty="none",
        unbroken=1,
    )


@program.command()
def end(
    silence_id: Annotated[UUID, typer.Argument(metavar="ID", help="The window or the mute.")],
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the audit.")] = None,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """End a window or a mute now; what a window held back is summed up."""
    _show(_change(app_path, lambda own, actor: own.end(actor, silence_id, reason=reason)), as_json=as_json)


def _change(app_path: str | None, change: Callable[[MaintenanceCommands, Actor], Awaitable[Silence]]) -> Silence:
    async def work(app: Mainspring) -> Silence:
        from mainspring.alerts.notification_settings import NotificationSettings
        from mainspring.control.maintenance import MaintenanceCommands

        access, opened = AccessAtTerminal.of(app), app.opened
        telling = NotificationSettings.of(app.settings, app.world)
        return await change(MaintenanceCommands(opened.database, access.audit, opened.signals, telling), access.actor)

    return run_connected(lambda: app_or_store(app_path), work)


def _show(silence: Silence, *, as_json: bool) -> None:
    record = _record(silence)
    if as_json:
        print_json(record)
    else:
        print_record(record)


def _record(silence: Silence) -> dict[str, Any]:
    from mainspring.api.admin_alerts_bodies import silence_json

    return silence_json(silence)
