"""`cron`: when an expression fires and why, for any expression and zone, without a store."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from mainspring.cli.cron_timetable import NextInstants, local_text
from mainspring.cli.exit_codes import ExitCode
from mainspring.cli.output import JsonOption, console, plain, print_facts, print_json, print_table
from mainspring.domain.cron_clock_change_words import describe_effect, zone_changes
from mainspring.domain.cron_explanation import FieldMeaning, explain_fields, explain_rules
from mainspring.domain.cron_fields import CronFields, read_expression
from mainspring.domain.english import in_words
from mainspring.domain.instants import instant_text
from mainspring.domain.schedule import Clock, Cron, CronError, OnStartup, parse_schedule

program = typer.Typer(help="When a cron expression fires, and why.", no_args_is_help=True)

_A_YEAR: Final = timedelta(days=365)
_YEARS: Final = range(1900, 9000)


class ClockFace(StrEnum):
    """How times of day are written."""

    TWELVE = "12"
    TWENTY_FOUR = "24"

    @property
    def hours(self) -> Clock:
        """The same as the domain has it."""
        return 12 if self is ClockFace.TWELVE else 24


ExpressionArgument = Annotated[str, typer.Argument(metavar="EXPR", help='Such as "30 2 * * MON" or @daily.')]
ZoneOption = Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone, such as Europe/Rome.")]
ClockOption = Annotated[ClockFace, typer.Option("--clock", help="Write 2:30 PM (12) or 14:30 (24).")]
StartOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Look from here on, such as 2027-03-28T01:00, by the zone's clock."),
]


@program.command("next")
def next_instants(
    expression: ExpressionArgument,
    tz: ZoneOption = "UTC",
    start: StartOption = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 5,
    clock: ClockOption = ClockFace.TWELVE,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say when an expression fires next, and what changing clocks do to it."""
    schedule = _asked_for(expression, tz, as_json=as_json)
    if schedule is None:
        return
    after = _read_start(start, schedule)
    instants = NextInstants.of(schedule, after, count, clock.hours)
    if as_json:
        print_json(_subject(schedule, clock) | {"from": instant_text(after)} | instants.record())
    else:
        _print_headline(schedule, clock)
        instants.print(distance="in" if start is None else "after", clock=clock.hours)


@program.command()
def explain(
    expression: ExpressionArgument,
    tz: ZoneOption = "UTC",
    start: StartOption = None,
    clock: ClockOption = ClockFace.TWELVE,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say what an expression means, field by field, and what the coming year's clocks do to it."""
    schedule = _asked_for(expression, tz, as_json=as_json)
    if schedule is None:
        return
    after = _read_start(start, schedule)
    following = schedule.next_after(after)
    fields = read_expression(expression)
    meanings = _meanings(schedule, fields, clock)
    changes = _changes(schedule, after, clock)
    if as_json:
        record = _subject(schedule, clock) | {
            "fields": [{"field": field.name, "text": text, "meaning": field.meaning} for text, field in meanings],
            "rules": explain_rules(fields),
            "followsRealTime": fields.follows_real_time,
            "matchesBothDayFields": fields.days.both,
            "next": instant_text(following),
            "clockChanges": [{"instant": instant_text(instant), "effect": effect} for instant, effect in changes],
        }
        print_json(record)
        return
    _print_headline(schedule, clock)
    print_table(("field", "", "means"), ((field.name, text, field.meaning) for text, field in meanings), empty="")
    for rule in explain_rules(fields):
        console().print(f" • {rule}")
    print_table(
        ("clocks change", "what that does"),
        ((local_text(instant, schedule, clock.hours), effect) for instant, effect in changes),
        empty=f"\n {tz} changes no clocks in the coming year",
    )
    print_facts([(" it fires next", _first(schedule, following, after, clock))])


def _print_headline(schedule: Cron, clock: ClockFace) -> None:
    console().print(f"\n [bold]{plain(schedule.describe(clock.hours))}[/] ({plain(schedule.tz)})")


def _first(schedule: Cron, following: datetime | None, after: datetime, clock: ClockFace) -> str:
    if following is None:
        return "never again: the calendar ends with the year 9998"
    return f"{local_text(following, schedule, clock.hours)}, in {in_words(following - after)}"


def _subject(schedule: Cron, clock: ClockFace) -> dict[str, Any]:
    return {
        "expression": schedule.expression,
        "normalized": schedule.normalized,
        "timezone": schedule.tz,
        "words": schedule.describe(clock.hours),
    }


def _meanings(schedule: Cron, fields: CronFields, clock: ClockFace) -> list[tuple[str, FieldMeaning]]:
    """Return each field as it was written, or as a macro stands for it, with what it means."""
    is_macro = schedule.expression.strip().startswith("@")
    texts = (schedule.normalized if is_macro else schedule.expression).split()
    meanings = explain_fields(fields, clock.hours)
    return list(zip(texts, meanings[-len(texts) :], strict=True))


def _changes(schedule: Cron, after: datetime, clock: ClockFace) -> list[tuple[datetime, str]]:
    changes = zone_changes(ZoneInfo(schedule.tz), after, after + _A_YEAR)
    return [(change.instant, describe_effect(schedule, change, clock.hours)) for change in changes]


def _answer_for_startup(expression: str, *, as_json: bool) -> None:
    words = OnStartup().describe()
    if as_json:
        print_json({"expression": expression, "words": words, "next": [], "startup": True})
    else:
        console().print(f"\n [bold]{words}[/]: no instant is known in advance, and no zone matters\n")


def _asked_for(expression: str, tz: str, *, as_json: bool) -> Cron | None:
    """Return what was asked about; None: it is `@reboot`, for which the answer has been given."""
    with _pointing_at_errors(expression, as_json=as_json):
        schedule = parse_schedule(expression, tz)
    if isinstance(schedule, OnStartup):
        _answer_for_startup(expression, as_json=as_json)
        return None
    return schedule


def _read_start(text: str | None, schedule: Cron) -> datetime:
    """Return the instant to look from: now, or what was given, by the clock of the schedule's zone if it names none."""
    from mainspring.world import RealWorld

    if text is None:
        return RealWorld().now()
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a time; write it as 2027-03-28T01:00 or 2027-03-28T00:00Z"
        ) from error
    if start.year not in _YEARS:
        raise typer.BadParameter(f"{text!r} is out of range; write a year from {_YEARS[0]} to {_YEARS[-1]}")
    return (start if start.tzinfo else start.replace(tzinfo=ZoneInfo(schedule.tz))).astimezone(UTC)


@contextmanager
def _pointing_at_errors(expression: str, *, as_json: bool) -> Generator[None]:
    """End with exit code 2 where an expression or zone cannot be read, with a caret under the character at fault."""
    try:
        yield
    except CronError as error:
        if as_json:
            place = {"field": error.field, "position": error.position}
            print_json({"expression": expression, "error": {"code": error.code, "message": str(error)} | place})
        else:
            # https://no-color.org
            typer.secho(f"mainspring: {error}", fg=None if os.environ.get("NO_COLOR") else "red", err=True)
            if error.position is not None:
                typer.echo(f"\n  {expression}\n  {' ' * (error.position - 1)}^", err=True)
        raise typer.Exit(ExitCode.USAGE) from error
