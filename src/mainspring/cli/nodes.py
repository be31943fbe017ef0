"""`nodes`: who works, and who is to stop claiming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, plain, print_json, print_table
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.app import Mainspring
    from mainspring.control.nodes import NodeCommands
    from mainspring.domain.access import Actor
    from mainspring.domain.cluster_size import Demand
    from mainspring.store.coordination.nodes import StoredNode

program = typer.Typer(help="Nodes: list them, let one claim nothing more, let it claim again.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The name of the node, as `mainspring nodes list` shows it.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why, for the audit and for those who look.")]


@program.command("list")
def list_nodes(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List the nodes that are alive, and those that were lost within a day."""

    async def work(app: Mainspring) -> list[StoredNode]:
        from mainspring.store.coordination import nodes

        return await app.opened.database.read(lambda connection: nodes.find(connection, app.settings.environment))

    found = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_record(node) for node in found])
        return
    print_table(
        ("node", "state", "host", "pid", "version", "roles", "running", "slots", "heartbeat"),
        (
            (
                plain(node.name),
                _state(node),
                plain(node.host),
                node.pid,
                node.version,
                ", ".join(node.roles),
                len(node.running),
                _slots(node),
                f"{node.heartbeat_seconds:.0f} s ago",
            )
            for node in found
        ),
        empty="no node is alive: `mainspring serve` starts one",
        unbroken=1,
    )


@program.command()
def wanted(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Print how many nodes would keep up with the work, for a script that starts and stops them."""

    async def work(app: Mainspring) -> tuple[Demand, int]:
        from mainspring.domain.cluster_size import wanted_nodes
        from mainspring.store.coordination.demand import demand

        settings = app.settings
        found = await app.opened.database.read(
            lambda connection: demand(connection, settings.environment, organization_limit=settings.org_concurrency)
        )
        return found, wanted_nodes(found, settings.target_wait)

    found, number = run_connected(lambda: app_or_store(app_path), work)
    if not as_json:
        typer.echo(number)
        return
    print_json({"wanted": number, "nodes": found.nodes, "waiting": found.waiting, "running": found.running})


@program.command()
def drain(name: NameArgument, reason: ReasonOption = None, app_path: AppOption = None) -> None:
    """Let a node claim nothing more; what it runs goes on, and it stays until it is stopped or resumed."""
    _change(lambda commands, actor: commands.drain(actor, name, reason=reason), app_path)
    typer.echo(f"draining: {name} claims nothing more", err=True)


@program.command()
def resume(name: NameArgument, reason: ReasonOption = None, app_path: AppOption = None) -> None:
    """Let a node that is draining claim again."""
    _change(lambda commands, actor: commands.resume(actor, name, reason=reason), app_path)
    typer.echo(f"resumed: {name} claims again", err=True)


def _change(change: Callable[[NodeCommands, Actor], Awaitable[None]], app_path: str | None) -> None:
    async def work(app: Mainspring) -> None:
        from mainspring.control.nodes import NodeCommands

        access, opened = AccessAtTerminal.of(app), app.opened
        await change(NodeCommands(opened.database, access.audit, opened.signals), access.actor)

    run_connected(lambda: app_or_store(app_path), work)


def _slots(node: StoredNode) -> str:
    return str(node.slots) if node.most_slots is None else f"{node.slots} of {node.most_slots}"


def _state(node: StoredNode) -> str:
    if node.lost_at is not None:
        return "lost"
    return "draining" if node.draining is not None else "working"


def _record(node: StoredNode) -> dict[str, Any]:
    return {
        "id": node.id,
        "name": node.name,
        "state": _state(node),
        "host": node.host,
        "pid": node.pid,
        "version": node.version,
        "roles": list(node.roles),
        "queues": list(node.queues),
        "slots": node.slots,
        "mostSlots": node.most_slots,
        "busyShare": node.busy_share,
        "memoryBytes": node.memory_bytes,
        "running": [run.id for run in node.running],
        "orphaned": list(node.orphaned),
        "startedAt": instant_text(node.started_at),
        "lastHeartbeat": instant_text(node.last_heartbeat),
        "clockOffsetMs": node.clock_offset_ms,
        "lostAt": instant_text(node.lost_at),
        "drainingSince": None if node.draining is None else instant_text(node.draining.since),
        "drainingBy": None if node.draining is None else node.draining.by,
        "drainingReason": None if node.draining is None else node.draining.reason,
    }
