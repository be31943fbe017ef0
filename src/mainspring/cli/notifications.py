"""`notifications`: what was told to the outside, what was given up, and whether a channel works."""

from __future__ import annotations

import asyncio
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_record, print_table
from mainspring.domain.alert import AlertEvent
from mainspring.domain.instants import instant_text
from mainspring.domain.notification import DEFAULT_DESTINATION, Notification, NotificationStatus
from mainspring.domain.redaction import redact_text

if TYPE_CHECKING:
    from mainspring.app import Mainspring

program = typer.Typer(help="Notifications: test a channel, list them, send them again.", no_args_is_help=True)


@program.command("test")
def send_test(
    channel: Annotated[str, typer.Argument(help="slack, email, webhook, or a channel of your own.")],
    to: Annotated[
        str, typer.Option(help="Where to, in its terms: #ops, ada@acme.example, a URL.")
    ] = DEFAULT_DESTINATION,
    app_path: AppOption = None,
) -> None:
    """Send a test message, now and past the outbox, and say what the receiver answered."""
    with redirect_stdout(sys.stderr):
        app = app_or_store(app_path)
        said = asyncio.run(_send(app, channel, to))
    typer.echo(said)


@program.command("list")
def list_notifications(
    status: Annotated[NotificationStatus | None, typer.Option(help="Those alone that ended so.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List notifications, the newest first."""

    async def work(app: Mainspring) -> list[Notification]:
        from mainspring.store.alerting import notifications

        scope = app.commands_and_actor()[1].scope
        return await app.opened.database.read(
            lambda connection: notifications.latest(connection, scope, status=status, most=most)
        )

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(item) for item in found])
        return
    print_table(
        ("id", "created", "channel", "to", "status", "tries", "title", "last error"),
        (
            (
                item.id,
                local_time(item.created_at),
                item.channel,
                plain(redact_text(item.destination)),
                item.status.value,
                item.attempts,
                plain(item.message.title),
                None if item.last_error is None else plain(item.last_error),
            )
            for item in found
        ),
        empty="no notifications",
    )


@program.command()
def resend(
    ids: Annotated[list[UUID] | None, typer.Argument(metavar="[ID]…", help="Dead notifications.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all-dead", help="All that were given up.")] = False,
    app_path: AppOption = None,
) -> None:
    """Send again what was given up; under the old ids, so that a receiver that has them does nothing twice."""
    if every == bool(ids):
        raise typer.BadParameter("give the ids of dead notifications, or --all-dead")

    async def work(app: Mainspring) -> int:
        from mainspring.control.notifications import NotificationCommands
        from mainspring.security.audit import Audit
        from mainspring.security.secret_key import Purpose

        access, opened = AccessAtTerminal.of(app), app.opened
        audit = Audit(opened.database, app.world, access.secret_key.derive(Purpose.AUDIT))
        commands = NotificationCommands(opened.database, audit, opened.signals)
        return await commands.resend(access.actor, None if every else ids)

    resent = run_connected(lambda: app_or_store(app_path), work)
    typer.echo(f"{resent} sent again")


@program.command()
def preview(
    event: Annotated[
        AlertEvent, typer.Argument(help="opened, reopened, worsened, escalated or resolved.")
    ] = AlertEvent.OPENED,
    channel: Annotated[str, typer.Option(help="slack, email, webhook, or a channel of your own.")] = "slack",
    job: Annotated[str, typer.Option(help="Of which job.")] = "weekly-digest",
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show a message of an alert that there is not, as the templates have it; with --json the blocks of Slack."""
    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.alerts.sample import sample_message
    from mainspring.alerts.slack_blocks import blocks_of
    from mainspring.alerts.templates import TOLD

    if event not in TOLD:
        raise typer.BadParameter(f"nothing is told of {event}: there are {', '.join(TOLD)}")
    with redirect_stdout(sys.stderr):
        app = app_or_store(app_path)
        telling = NotificationSettings.of(app.settings, app.world)
    message = sample_message(
        event, telling.templates, channel=channel, job_name=job, public_url=telling.public_url or "https://jobs.example"
    )
    if as_json:
        print_json(blocks_of(message) if channel == "slack" else message.as_json())
        return
    typer.echo(f"{message.title}\n\n{message.text}\n")
    print_record(dict(message.fields) | dict(message.links))


@program.command()
def secret(
    org: Annotated[str | None, typer.Option(help="Tell the secret that signs the webhooks of an organization.")] = None,
    app_path: AppOption = None,
) -> None:
    """Make a secret for MAINSPRING_WEBHOOK_SECRET, or tell that of an organization; print it, and nothing else."""
    from mainspring.domain.webhook_signature import new_secret
    from mainspring.runtime.delivery import signing_secret
    from mainspring.security.secret_key import secret_key_in_force

    with redirect_stdout(sys.stderr):
        app = app_or_store(app_path)
        if org is None:
            text = new_secret(app.world.token().encode())
        else:
            text = signing_secret(secret_key_in_force(app.settings, app.world), org)
    typer.echo(text)


async def _send(app: Mainspring, channel: str, destination: str) -> str:
    from mainspring.alerts.channels.base import Taken
    from mainspring.alerts.configured_channels import configured_channels
    from mainspring.alerts.dispatcher import SECONDS_FOR_ONE_TRY
    from mainspring.alerts.sample import message_of_a_test
    from mainspring.errors import ConfigurationError, TransientError
    from mainspring.runtime.delivery import channel_tools

    settings, world = app.settings, app.world
    tools = channel_tools(settings, world)
    channels = configured_channels(settings, tools)
    if channel not in channels:
        raise ConfigurationError(f"no channel {channel!r} is installed; there are {', '.join(sorted(channels))}")
    now = world.now()
    notification = Notification(
        id=world.new_id(),
        environment=settings.environment,
        channel=channel,
        destination=destination,
        message=message_of_a_test(settings, "somebody ran `mainspring notifications test`"),
        status=NotificationStatus.PENDING,
        attempts=1,
        created_at=now,
        available_at=now,
    )
    try:
        async with asyncio.timeout(SECONDS_FOR_ONE_TRY):
            answer = await channels[channel].send(notification)
            return answer.said if isinstance(answer, Taken) else answer
    except TimeoutError:
        raise TransientError(f"the channel {channel!r} took longer than {SECONDS_FOR_ONE_TRY:g} s") from None
    finally:
        tools.egress.close()


def _record(item: Notification) -> dict[str, Any]:
    return {
        "id": item.id,
        "channel": item.channel,
        "destination": redact_text(item.destination),
        "status": item.status.value,
        "attempts": item.attempts,
        "message": item.message.as_json(),
        "organizationId": item.organization_id,
        "executionId": item.execution_id,
        "lastError": item.last_error,
        "createdAt": instant_text(item.created_at),
        "availableAt": instant_text(item.available_at),
        "deliveredAt": instant_text(item.delivered_at),
    }
