"""`jobs pause|resume|enable|disable|cron|ticks|backfill`: when a job fires, and why it did or did not."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mainspring.cli import instants, records
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.jobs import NameArgument, program
from mainspring.cli.output import JsonOption, local_time, plain, print_facts, print_json, print_table
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.app import Mainspring
    from mainspring.control.schedules import ScheduleCommands
    from mainspring.domain.access import Actor
    from mainspring.store.scheduling.backfill import Backfilled
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from mainspring.store.scheduling.ticks import RecordedTick

_OUTCOME_COLOURS: Final = {"fired": "green", "coalesced": "cyan", "skipped": "yellow", "missed": "red"}

ReasonOption = Annotated[str | None, typer.Option(help="Why, for those who find it so.")]
UntilOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Until then: such as 2h, or 2027-03-01T08:00 by this machine's clock."),
]


@program.command()
def pause(
    name: NameArgument, reason: ReasonOption = None, until: UntilOption = None, app_path: AppOption = None,
    *, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Stop a job from firing; its instants are recorded as skipped."""
    end = _instant(until)
    _change(name, app_path, lambda own, actor: own.pause(actor, name, reason=reason, until=end), as_json=as_json)


@program.command()
def resume(
    name: NameArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Let a paused job fire again, from its next instant on."""
    _change(name, app_path, lambda own, actor: own.resume(actor, name, reason=reason), as_json=as_json)


@program.command()
def enable(
    name: NameArgument, reason: ReasonOption = None, app_path: AppOption = None, *, as_json: JsonOption = False
) -> None:
    """Let a job fire, whatever code says."""
    _change(name, app_path, lambda own, actor: own.enable(actor, name, reason=reason), as_json=as_json)


@program.command()
def disable(
    name: NameArgument, reason: ReasonOption = None, until: UntilOption = None, app_path: AppOption = None,
    *, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Keep a job from firing, whatever code says."""
    end = _instant(until)
    _change(name, app_path, lambda own, actor: own.disable(actor, name, reason=reason, until=end), as_json=as_json)


@program.command("cron")
def set_cron(
    name: NameArgument,
    expression: Annotated[str | None, typer.Argument(metavar="EXPR", help='Such as "30 2 * * MON".')] = None,
    *,
    tz: Annotated[str, typer.Option("--tz", metavar="ZONE", help="Such as Europe/Rome.")] = "UTC",
    reason: ReasonOption = None,
    until: UntilOption = None,
    app_path: AppOption = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back all that was put over the code.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fire a job by another expression; what code says stays beside it and comes back with --reset."""
    if (expression is None) != reset:
        raise typer.BadParameter("give an expression, or --reset to go back to what code says")
    end = _instant(until)

    def change(own: ScheduleCommands, actor: Actor) -> Awaitable[StoredSchedule]:
        if expression is None:
            return own.reset(actor, name, reason=reason)
        return own.set_cron(actor, name, expression, timezone=tz, reason=reason, expires_at=end)

    _change(name, app_path, change, as_json=as_json)


@program.command()
def ticks(
    name: NameArgument,
    start: Annotated[str | None, typer.Option("--from", metavar="TIME", help="From this instant on.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to this instant.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 25,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what became of each instant that was due: why did it not run?"""
    after, until = _instant(start), _instant(end)

    async def work(app: Mainspring) -> tuple[list[RecordedTick], str]:
        from mainspring.store.scheduling import ticks as recorded

        await _require_schedule(app, name)
        environment = app.settings.environment
        found = await app.opened.database.read(
            lambda connection: recorded.find(connection, environment, name, after=after, until=until, limit=limit)
        )
        return found, environment

    found, environment = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([records.recorded_tick(environment, item) for item in found])
        return
    print_table(
        ("due", "outcome", "why", "execution", "decided"),
        (
            (
                local_time(item.tick.scheduled_for),
                f"[{_OUTCOME_COLOURS[item.tick.outcome.value]}]{item.tick.outcome.value}[/]",
                _why(item),
                item.execution_id,
                _delay(item),
            )
            for item in found
        ),
        empty=f"no instant of {name} has come yet",
    )


@program.command("backfill")
def backfill_command(
    name: NameArgument,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="The first instant.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The last instant.")],
    reason: ReasonOption = None,
    app_path: AppOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a job for each past instant of a span that has not fired."""
    first, last = instants.read(start), instants.read(end)

    async def work(app: Mainspring) -> Backfilled:
        own, actor = _at_terminal(app)
        return await own.backfill(actor, name, start=first, end=last, reason=reason, dry_run=dry_run)

    done = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json(
            {
                "dryRun": dry_run,
                "instants": [instant_text(instant) for instant in done.instants],
                "firedBefore": [instant_text(instant) for instant in done.fired_before],
            }
        )
        return
    verb = "would run" if dry_run else "runs"
    print_table(
        ("instant", ""),
        ((local_time(instant), verb) for instant in done.instants),
        empty="every instant of that span has fired, or there is none",
    )


def _change(
    name: str,
    app_path: str | None,
    change: Callable[[ScheduleCommands, Actor], Awaitable[StoredSchedule]],
    *,
    as_json: bool,
) -> None:
    async def work(app: Mainspring) -> tuple[StoredSchedule, str]:
        return await change(*_at_terminal(app)), app.settings.environment

    schedule, environment = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json(records.schedule_record(environment, name, schedule))
        return
    print_facts(
        [
            ("job", name),
            ("fires", f"{schedule.schedule.describe()} ({schedule.text.timezone})"),
            ("stopped", _stopped(schedule)),
            ("code says", None if schedule.text == schedule.code else schedule.code.expression),
            ("next", local_time(schedule.next_run_at)),
        ]
    )


def _at_terminal(app: Mainspring) -> tuple[ScheduleCommands, Actor]:
    """Return the commands, and whoever runs this one: audited like any other actor."""
    access = AccessAtTerminal.of(app)
    return access.commands.schedules, access.actor


def _stopped(schedule: StoredSchedule) -> str | None:
    if schedule.pause is not None:
        until = f"until {local_time(schedule.pause.until)}" if schedule.pause.until else "until somebody resumes it"
        reason = f": {plain(schedule.pause.reason)}" if schedule.pause.reason else ""
        return f"paused {until}{reason}"
    return None if schedule.enabled else "disabled"


async def _require_schedule(app: Mainspring, name: str) -> None:
    from mainspring.control.schedules import no_schedule
    from mainspring.store.scheduling import schedules

    environment = app.settings.environment
    database = app.opened.database
    if await database.read(lambda connection: schedules.get(connection, environment, name)) is None:
        raise await database.read(lambda connection: no_schedule(connection, environment, name))


def _why(item: RecordedTick) -> str:
    from mainspring.domain.tick_words import explain

    return explain(item.tick)


def _delay(item: RecordedTick) -> str | None:
    if item.recorded_at is None:
        return None
    return f"{(item.recorded_at - item.tick.scheduled_for).total_seconds():.1f} s later"


def _instant(text: str | None) -> datetime | None:
    return None if text is None else instants.read(text)
