"""`user`: people who sign in to the dashboard."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_table
from mainspring.domain.access import Role
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.control.users import UserCommands
    from mainspring.domain.access import Actor
    from mainspring.store.identity.users import User

program = typer.Typer(help="People who sign in: add, list, change, disable.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The name by which they sign in.")]


@program.command()
def create(
    name: NameArgument,
    *,
    role: Annotated[Role, typer.Option(help="What they may do.")],
    org: Annotated[str | None, typer.Option(help="Their organization; none: platform staff.")] = None,
    app_path: AppOption = None,
) -> None:
    """Add somebody who signs in; the password is asked for, or read from standard input."""
    password = _read_password()

    async def create_user(commands: UserCommands, actor: Actor) -> None:
        from mainspring.domain.grant import Grant

        await commands.create(actor, name, Grant(role, org), password)

    _change(create_user, app_path)
    typer.echo(f"created: the user {name}, {role.value} of {org or 'the platform'}", err=True)


@program.command("list")
def list_users(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List who may sign in, and who no longer may."""

    async def work(app: Mainspring) -> list[User]:
        from mainspring.store.identity import users

        scope = app.commands_and_actor()[1].scope
        return await app.opened.database.read(lambda connection: users.find(connection, scope))

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(user) for user in found])
        return
    print_table(
        ("user", "role", "organization", "since", "disabled"),
        (
            (
                plain(user.name),
                user.role,
                None if user.organization_id is None else plain(user.organization_id),
                local_time(user.created_at),
                local_time(user.disabled_at),
            )
            for user in found
        ),
        empty="there are none: `mainspring user create NAME --role admin` adds the first",
    )


@program.command()
def password(name: NameArgument, app_path: AppOption = None) -> None:
    """Give somebody another password, asked for or read from standard input; their sessions end."""
    new_password = _read_password()
    _change(lambda commands, actor: commands.set_password(actor, name, new_password), app_path)
    typer.echo(f"changed: the password of {name}", err=True)


@program.command()
def role(
    name: NameArgument, new_role: Annotated[Role, typer.Argument(metavar="ROLE")], app_path: AppOption = None
) -> None:
    """Give somebody another role; they sign in again, and their tokens end."""
    _change(lambda commands, actor: commands.change_role(actor, name, new_role), app_path)
    typer.echo(f"changed: {name} is now {new_role.value}", err=True)


@program.command()
def disable(name: NameArgument, app_path: AppOption = None) -> None:
    """Let somebody act no longer: sessions and tokens end within ten seconds on every node."""
    _change(lambda commands, actor: commands.disable(actor, name), app_path)
    typer.echo(f"disabled: the user {name}", err=True)


@program.command()
def enable(name: NameArgument, app_path: AppOption = None) -> None:
    """Let somebody who was disabled act again, with the same password."""
    _change(lambda commands, actor: commands.enable(actor, name), app_path)
    typer.echo(f"enabled: the user {name}", err=True)


def _change(change: Callable[[UserCommands, Actor], Awaitable[None]], app_path: str | None) -> None:
    async def work(app: Mainspring) -> None:
        from mainspring.control.users import UserCommands
        from mainspring.security.passwords import Passwords

        access, passwords = AccessAtTerminal.of(app), Passwords(app.world)
        try:
            await change(UserCommands(access.changes, passwords, app.world), access.actor)
        finally:
            passwords.close()

    run_connected(lambda: app_or_store(app_path), work)


def _read_password() -> str:
    """Return the password: typed twice at a terminal, else the first line of standard input; never an argument."""
    if sys.stdin.isatty():
        return str(typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _record(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "organizationId": user.organization_id,
        "createdAt": instant_text(user.created_at),
        "disabledAt": instant_text(user.disabled_at),
    }
