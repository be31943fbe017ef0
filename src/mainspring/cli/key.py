"""`key`: API keys of services and organizations, made, listed and revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from mainspring.cli import durations
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_table
from mainspring.domain.access import Role
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.security.keys import NewKey
    from mainspring.store.identity.api_keys import ApiKey

program = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@program.command()
def create(
    *,
    service: Annotated[str | None, typer.Option(help="The service that registers jobs by it.")] = None,
    prefix: Annotated[str | None, typer.Option(help="What the names of its jobs begin with; *: any.")] = None,
    org: Annotated[str | None, typer.Option(help="The organization that a program acts for by it.")] = None,
    role: Annotated[Role | None, typer.Option(help="What that program may do.")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long it holds, such as 90d; none: until it is revoked.")] = None,
    app_path: AppOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key, and show it this once."""
    holds_for = None if ttl is None else durations.read(ttl)

    async def work(app: Mainspring) -> NewKey:
        from mainspring.control.keys import KeyCommands

        access = AccessAtTerminal.of(app)
        commands = KeyCommands(access.changes, access.secret_key, app.world)
        match service, prefix, org, role:
            case str(), str(), None, None:
                return await commands.create_for_service(access.actor, service, prefix, ttl=holds_for)
            case None, None, str(), Role():
                return await commands.create_for_organization(access.actor, org, role, ttl=holds_for)
            case _:
                raise typer.BadParameter("give --service and --prefix, or --org and --role")

    made = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json({"id": made.id, "key": made.key, "signingSecret": made.signing_secret})
        return
    typer.echo(f"id              {made.id}\nkey             {made.key}\nsigning secret  {made.signing_secret}")
    typer.echo("Keep both now: they are not shown again.", err=True)


@program.command("list")
def list_keys(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List the API keys, the newest first; never the keys themselves."""

    async def work(app: Mainspring) -> list[ApiKey]:
        from mainspring.store.identity import api_keys

        scope = app.commands_and_actor()[1].scope
        return await app.opened.database.read(lambda connection: api_keys.find(connection, scope))

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(key) for key in found])
        return
    print_table(
        ("key", "for", "names", "role", "made", "last used", "expires", "revoked"),
        (
            (
                key.id,
                plain(key.service_name or key.organization_id),
                None if key.name_prefix is None else f"{key.name_prefix}…",
                key.role,
                local_time(key.created_at),
                local_time(key.last_used_at),
                local_time(key.expires_at),
                local_time(key.revoked_at),
            )
            for key in found
        ),
        empty="there are none",
    )


@program.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(metavar="ID", help="The key's id.")], app_path: AppOption = None
) -> None:
    """Revoke an API key; every node knows within ten seconds."""

    async def work(app: Mainspring) -> None:
        from mainspring.control.keys import KeyCommands

        access = AccessAtTerminal.of(app)
        await KeyCommands(access.changes, access.secret_key, app.world).revoke(access.actor, key_id)

    run_connected(lambda: app_or_store(app_path), work)
    typer.echo(f"revoked: the API key {key_id}", err=True)


def _record(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "service": key.service_name,
        "prefix": key.name_prefix,
        "organizationId": key.organization_id,
        "role": key.role,
        "createdAt": instant_text(key.created_at),
        "lastUsedAt": instant_text(key.last_used_at),
        "expiresAt": instant_text(key.expires_at),
        "revokedAt": instant_text(key.revoked_at),
    }
