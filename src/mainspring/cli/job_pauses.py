"""`jobs pause-all|resume-all`: the incident switch, at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import instants
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.job_health import program
from mainspring.cli.job_schedules import ReasonOption, UntilOption
from mainspring.cli.output import JsonOption, print_facts, print_json
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.control.pauses import PauseCommands
    from mainspring.domain.access import Actor
    from mainspring.store.scheduling.pauses import PauseOfAll


@program.command("pause-all")
def pause_all(
    reason: ReasonOption = None,
    until: UntilOption = None,
    app_path: AppOption = None,
    *,
    stop_runs: Annotated[
        bool, typer.Option("--stop-runs", help="Also cancel what schedules have started, waiting or running.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let no schedule fire on any node; its instants are recorded as skipped, and what runs goes on."""
    end = None if until is None else instants.read(until)

    async def work(app: Mainspring) -> tuple[PauseOfAll | None, int]:
        commands, actor = _at_terminal(app)
        stopped = await commands.pause_all(actor, reason=reason, until=end, stop_runs=stop_runs)
        return await _in_force(app), stopped

    _show(*run_connected(lambda: app_or_store(app_path), work), as_json=as_json)


@program.command("resume-all")
def resume_all(reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Let schedules fire again, each from its next instant on."""

    async def work(app: Mainspring) -> PauseOfAll | None:
        commands, actor = _at_terminal(app)
        await commands.resume_all(actor, reason=reason)
        return await _in_force(app)

    _show(run_connected(lambda: app_or_store(app_path), work), 0, as_json=as_json)


def _at_terminal(app: Mainspring) -> tuple[PauseCommands, Actor]:
    access = AccessAtTerminal.of(app)
    return access.commands.pauses, access.actor


async def _in_force(app: Mainspring) -> PauseOfAll | None:
    from mainspring.store.scheduling import pauses

    environment = app.settings.environment
    return await app.opened.database.read(lambda connection: pauses.in_force(connection, environment))


def _show(pause: PauseOfAll | None, stopped: int, *, as_json: bool) -> None:
    until = None if pause is None or pause.ends_at is None else instant_text(pause.ends_at)
    if as_json:
        print_json({"paused": pause is not None, "until": until, "stopped": stopped})
        return
    if pause is None:
        print_facts([("schedules", "fire")])
        return
    print_facts(
        [
            ("schedules", "are paused, all of them"),
            ("until", until or "somebody resumes: mainspring jobs resume-all"),
            ("stopped", f"{stopped} executions"),
        ]
    )
