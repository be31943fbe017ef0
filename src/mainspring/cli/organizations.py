"""`organizations`: how each organization stands, and how many of its jobs may run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, plain, print_facts, print_json, print_table

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.queue.organization_limits import Organization

program = typer.Typer(
    help="Organizations: list them, and set how many of their jobs run at once.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="The organization.")]


@program.command("list")
def list_organizations(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List the organizations that have asked for jobs, or were given a limit."""

    async def work(app: Mainspring) -> tuple[list[Organization], int]:
        from mainspring.store.queue import organization_limits

        found = await app.opened.database.read(
            lambda connection: organization_limits.find(connection, app.settings.environment)
        )
        return found, app.settings.org_concurrency

    found, default = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(item, default) for item in found])
        return
    print_table(
        ("organization", "running", "limit", "waiting"),
        ((plain(item.name), item.running, _limit_in_words(item, default), item.waiting) for item in found),
        empty="no organization has asked for a job yet",
        unbroken=1,
    )


@program.command()
def show(name: NameArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Show how an organization stands."""

    async def work(app: Mainspring) -> tuple[Organization, int]:
        from mainspring.store.queue import organization_limits

        found = await app.opened.database.read(
            lambda connection: organization_limits.get(connection, app.settings.environment, name)
        )
        return found, app.settings.org_concurrency

    found, default = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json(_record(found, default))
        return
    print_facts(
        [
            ("organization", plain(found.name)),
            ("running", found.running),
            ("limit", _limit_in_words(found, default)),
            ("waiting", found.waiting),
        ]
    )


@program.command()
def limit(
    name: NameArgument,
    max_running: Annotated[
        int | None, typer.Argument(metavar="[N]", min=0, help="How many of its jobs run at once, 0 to 10,000.")
    ] = None,
    *,
    default: Annotated[bool, typer.Option("--default", help="As many as MAINSPRING_ORG_CONCURRENCY says.")] = False,
    app_path: AppOption = None,
) -> None:
    """Set how many jobs of an organization run at once, on all nodes together; what runs goes on."""
    if default == (max_running is not None):
        raise typer.BadParameter("give a number, or --default")

    async def work(app: Mainspring) -> tuple[int | None, int]:
        from mainspring.control.organizations import OrganizationCommands

        access, opened = AccessAtTerminal.of(app), app.opened
        commands = OrganizationCommands(opened.database, access.audit, opened.signals)
        return await commands.limit(access.actor, name, max_running), app.settings.org_concurrency

    before, usual = run_connected(lambda: app_or_store(app_path), work)
    typer.echo(
        f"limited: {usual if default else max_running} jobs of {name} run at once "
        f"(it was {usual if before is None else before})",
        err=True,
    )


def _limit_in_words(item: Organization, default: int) -> str:
    return f"{default} (default)" if item.max_running is None else str(item.max_running)


def _record(item: Organization, default: int) -> dict[str, Any]:
    return {
        "organization": item.name,
        "running": item.running,
        "waiting": item.waiting,
        "maxRunning": default if item.max_running is None else item.max_running,
        "isDefault": item.max_running is None,
    }
