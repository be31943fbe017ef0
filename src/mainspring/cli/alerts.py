"""`alerts`: what is wrong, and what somebody at a terminal does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from mainspring.cli import instants
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_record, print_table
from mainspring.domain.alert import AlertState, Severity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.app import Mainspring
    from mainspring.control.alerts import AlertCommands
    from mainspring.domain.access import Actor
    from mainspring.domain.alert import Alert

Answer = TypeVar("Answer")

program = typer.Typer(help="Alerts: list them, look after them, put them off, end them.", no_args_is_help=True)

IdArgument = Annotated[UUID, typer.Argument(metavar="ID", help="The alert.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why; it is kept in the audit.")]
UntilOption = Annotated[
    str, typer.Option(metavar="TIME", help="Until then: such as 2h, or 2027-03-01T08:00 by this machine's clock.")
]


@program.command("list")
def list_alerts(
    state: Annotated[AlertState | None, typer.Option(help="Those alone that stand so.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="Those alone that matter so.")] = None,
    job: Annotated[str | None, typer.Option(help="Those of this job alone.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List alerts, the newest first; by default those that are over, too."""

    async def work(app: Mainspring) -> list[Alert]:
        from mainspring.store.alerting import alert_pages
        from mainspring.store.alerting.alert_pages import AlertFilter

        scope = app.commands_and_actor()[1].scope
        wanted = AlertFilter(state=state, severity=severity, job_name=job)
        page = await app.opened.database.read(
            lambda connection: alert_pages.alerts_page(connection, scope, wanted, skip=0, size=most)
        )
        return list(page.alerts)

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(alert) for alert in found])
        return
    print_table(
        ("id", "opened", "severity", "state", "what", "rule", "seen", "not told, because"),
        (
            (
                alert.id,
                local_time(alert.opened_at),
                alert.severity.value,
                alert.state.value,
                plain(alert.subject),
                alert.rule.value,
                alert.occurrences,
                None if alert.held_by is None else plain(alert.held_by),
            )
            for alert in found
        ),
        empty="no alerts",
        unbroken=1,
    )


@program.command()
def show(alert_id: IdArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Show an alert with its figures."""

    async def work(app: Mainspring) -> Alert:
        from mainspring.control.alerts import AlertNotFoundError
        from mainspring.store.alerting import alerts

        scope = app.commands_and_actor()[1].scope
        alert = await app.opened.database.read(lambda connection: alerts.get(connection, scope, alert_id))
        if alert is None:
            raise AlertNotFoundError(f"there is no alert {alert_id}: `mainspring alerts list` lists them")
        return alert

    _show(run_connected(lambda: app_or_store(app_path), work), as_json=as_json)


@program.command()
def acknowledge(
    alert_id: IdArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Say that you look after an alert: it is not escalated any more."""
    alert = _change(app_path, lambda own, actor: own.acknowledge(actor, alert_id, reason=reason))
    _show(alert, as_json=as_json)


@program.command()
def snooze(
    alert_id: IdArgument, until: UntilOption, reason: ReasonOption = None, app_path: AppOption = None,
    *, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let nobody be told of an alert until an instant."""
    end = instants.read(until)
    alert = _change(app_path, lambda own, actor: own.snooze(actor, alert_id, end, reason=reason))
    _show(alert, as_json=as_json)


@program.command()
def resolve(
    alert_id: IdArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """End an alert; if its rule is still broken, it opens again."""
    alert = _change(app_path, lambda own, actor: own.resolve(actor, alert_id, reason=reason))
    _show(alert, as_json=as_json)


@program.command()
def undo(
    alert_id: IdArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Take back what somebody did last: an acknowledgement, a snooze, or that they said that it is over."""
    alert = _change(app_path, lambda own, actor: own.undo(actor, alert_id, reason=reason))
    _show(alert, as_json=as_json)


@program.command()
def mute(alert_id: IdArgument, reason: ReasonOption = None, app_path: AppOption = None) -> None:
    """Stop telling of this rule on this thing; print the id by which `maintenance end` ends that."""
    typer.echo(_change(app_path, lambda own, actor: own.mute(actor, alert_id, reason=reason)))


def _change(app_path: str | None, change: Callable[[AlertCommands, Actor], Awaitable[Answer]]) -> Answer:
    async def work(app: Mainspring) -> Answer:
        from mainspring.alerts.notification_settings import NotificationSettings
        from mainspring.control.alerts import AlertCommands

        access, opened = AccessAtTerminal.of(app), app.opened
        telling = NotificationSettings.of(app.settings, app.world)
        return await change(AlertCommands(opened.database, access.audit, opened.signals, telling), access.actor)

    return run_connected(lambda: app_or_store(app_path), work)


def _show(alert: Alert, *, as_json: bool) -> None:
    record = _record(alert)
    if as_json:
        print_json(record)
        return
    figures = record.pop("figures")
    print_record(record | figures)


def _record(alert: Alert) -> dict[str, Any]:
    from mainspring.api.admin_alerts_bodies import alert_json

    return alert_json(alert, None)
