"""`token`: bearer tokens for the API, made and revoked."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import durations
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.domain.access import Permission, Role

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.security.tokens import Tokens

program = typer.Typer(help="Make and revoke bearer tokens.", no_args_is_help=True)


@program.command()
def create(
    *,
    user: Annotated[str, typer.Option(help="Who acts by it.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    org: Annotated[str | None, typer.Option(help="Its organization; none: platform staff.")] = None,
    permission: Annotated[list[Permission] | None, typer.Option(help="What it may do beyond its role.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it holds, such as 30m, 1h or 7d.")] = "1h",
    app_path: AppOption = None,
) -> None:
    """Print a bearer token, and nothing else."""
    with redirect_stdout(sys.stderr):
        app = app_or_store(app_path)
        token = tokens_of(app).create(
            user, role=role, organization_id=org, permissions=permission or (), ttl=durations.read(ttl)
        )
    typer.echo(token)


@program.command()
def revoke(
    token_id: Annotated[str | None, typer.Argument(metavar="[JTI]", help="The token's `jti`.")] = None,
    user: Annotated[str | None, typer.Option(help="Revoke all that this user has.")] = None,
    app_path: AppOption = None,
) -> None:
    """Revoke one token, or all tokens of a user; every node knows within ten seconds."""
    if (token_id is None) == (user is None):
        raise typer.BadParameter("give the `jti` of one token, or --user for all tokens of a user")

    async def work(app: Mainspring) -> None:
        access = AccessAtTerminal.of(app)
        if token_id is not None:
            await access.changes.revoke_token(access.actor, token_id)
        elif user is not None:
            await access.changes.revoke_tokens_of(access.actor, user)

    run_connected(lambda: app_or_store(app_path), work)
    typer.echo(f"revoked: {'all tokens of ' + user if user else 'the token ' + str(token_id)}", err=True)


def tokens_of(app: Mainspring) -> Tokens:
    """Return what makes the tokens of an application's deployment.

    Raises:
        ConfigurationError: There is no secret key, and there has to be one.
    """
    from mainspring.security.secret_key import secret_key_in_force
    from mainspring.security.tokens import Tokens

    return Tokens.of(app.settings, secret_key_in_force(app.settings, app.world), app.world)
