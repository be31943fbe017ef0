"""`jobs`: what is declared, when it fires, and asking for a run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import durations, records
from mainspring.cli.application import AppOption, app_or_store, load_app, run_connected
from mainspring.cli.output import JsonOption, coloured_status, local_time, plain, print_facts, print_json, print_table
from mainspring.domain.english import in_words
from mainspring.domain.instants import instant_text
from mainspring.errors import JobNotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from mainspring.app import Mainspring
    from mainspring.domain.execution import Execution
    from mainspring.store.jobs.definitions import StoredDefinition

program = typer.Typer(help="What is declared: show, ask for a run.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The job's name.")]
PayloadOption = Annotated[str | None, typer.Option(metavar="JSON", help="What to work on.")]


@program.command("list")
def list_jobs(app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """List the jobs of the environment."""

    async def work(app: Mainspring) -> tuple[list[StoredDefinition], datetime]:
        from mainspring.store.jobs import definitions

        environment = app.settings.environment
        found = await app.opened.database.read(lambda connection: definitions.find(connection, environment))
        return found, app.world.now()

    found, now = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([_job_record(definition, now) for definition in found])
        return
    print_table(
        ("job", "group", "queue", "fires", "next"),
        (
            (
                definition.name,
                plain(definition.group),
                definition.queue,
                _fires(definition),
                local_time(_next(definition, now)),
            )
            for definition in found
        ),
        empty="no jobs are registered: start a node with `mainspring serve --app …`",
    )


@program.command()
def show(name: NameArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Show one job, and its latest runs."""

    async def work(app: Mainspring) -> tuple[StoredDefinition, list[Execution], datetime]:
        from mainspring.domain.access import Actor
        from mainspring.store.runs import executions

        scope = Actor.application(app.settings.environment).scope
        latest = await app.opened.database.read(
            lambda connection: executions.find(connection, scope, executions.Filter(job_name=name), most=5)
        )
        return await _definition(app, name), latest, app.world.now()

    definition, latest, now = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        runs = [records.execution_record(execution, definition.code["sensitive"]) for execution in latest]
        print_json(_job_record(definition, now) | {"latest": runs})
        return
    _print_job(definition, now)
    _print_latest(latest)


def _print_job(definition: StoredDefinition, now: datetime) -> None:
    print_facts(
        [
            ("job", definition.name),
            ("does", plain(definition.description) or None),
            ("group", plain(definition.group)),
            ("type", plain(definition.job_type)),
            ("queue", definition.queue),
            ("fires", _fires(definition)),
            ("started", "elsewhere, such as by cron" if definition.code.get("external") else None),
            ("next", local_time(_next(definition, now))),
            ("timeout", in_words(timedelta(seconds=definition.code["timeout"]))),
            ("on demand", "yes" if definition.on_demand else "no"),
            ("service", definition.service_name and f"{definition.service_name} at {definition.service_url}"),
            ("orphaned", _orphaned(definition)),
        ]
    )


def _print_latest(latest: Sequence[Execution]) -> None:
    print_table(
        ("latest run", "status", "created", "took"),
        (
            (
                run.id,
                coloured_status(run.status),
                local_time(run.created_at),
                None if run.duration_ms is None else f"{run.duration_ms} ms",
            )
            for run in latest
        ),
        empty="it has not run yet",
    )


@program.command()
def trigger(
    name: NameArgument,
    payload: PayloadOption = None,
    app_path: AppOption = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 unless it succeeds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask for a run of a job now; a node carries it out."""
    execution, sensitive = _enqueue(name, payload, app_path, until=timedelta.max if wait else None)
    if as_json:
        print_json(records.execution_record(execution, sensitive))
    else:
        typer.echo(f"execution {execution.id} of {name!r} is {execution.status}")
    if wait:
        _fail_unless_succeeded(execution)


@program.command()
def run(
    name: NameArgument,
    payload: PayloadOption = None,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait, such as 30s or 10m.")] = "30s",
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run a job on a node, wait for its end, and show its result."""
    execution, sensitive = _enqueue(name, payload, app_path, until=durations.read(timeout))
    record = records.execution_record(execution, sensitive)
    if as_json:
        print_json(record)
    else:
        print_facts(
            [
                ("execution", execution.id),
                ("status", coloured_status(execution.status)),
                ("took", None if execution.duration_ms is None else f"{execution.duration_ms} ms"),
                ("error", None if record["errorMessage"] is None else plain(record["errorMessage"])),
            ]
        )
        if execution.result is not None:
            print_json(execution.result)
    _fail_unless_succeeded(execution)


@program.command("next")
def next_instants(
    name: NameArgument,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 5,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say when a job fires next."""

    async def work(app: Mainspring) -> tuple[StoredDefinition, datetime]:
        return await _definition(app, name), app.world.now()

    definition, now = run_connected(lambda: app_or_store(app_path), work)
    instants = list(_instants(definition, now, count))
    if as_json:
        print_json([instant_text(instant) for instant in instants])
        return
    print_table(
        ("UTC", "here", "in"),
        ((f"{instant:%Y-%m-%d %H:%M:%S}", local_time(instant), in_words(instant - now)) for instant in instants),
        empty=f"{name} has no instant that is known in advance: {_fires(definition) or 'it runs when it is asked for'}",
    )


def _enqueue(
    name: str, payload: str | None, app_path: str | None, *, until: timedelta | None
) -> tuple[Execution, Collection[str]]:
    """Ask for a run, and return its execution, at once or when it has ended, and what of its payload is not shown."""
    value = _json_payload(payload)

    async def work(app: Mainspring) -> tuple[Execution, Collection[str]]:
        from mainspring.cli.access import AccessAtTerminal, login
        from mainspring.cli.watching import wait_with_progress
        from mainspring.domain.execution import Trigger

        access = AccessAtTerminal.of(app)
        commands, actor = access.commands.executions, access.actor
        [execution_id] = await commands.enqueue(name, [value], actor=actor, trigger=Trigger.ADMIN, user_id=login())
        sensitive = (await commands.job(name)).definition.sensitive
        if until is None:
            return await commands.get(actor.scope, execution_id), sensitive
        timeout = None if until == timedelta.max else until
        return await wait_with_progress(app, execution_id, timeout=timeout), sensitive

    return run_connected(lambda: load_app(app_path), work)


def _json_payload(text: str | None) -> object:
    import orjson

    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--payload is not JSON: {error}") from error


def _fail_unless_succeeded(execution: Execution) -> None:
    from mainspring.domain.execution import Status

    if execution.status in {Status.FAILED, Status.CANCELLED}:
        raise typer.Exit(1)


async def _definition(app: Mainspring, name: str) -> StoredDefinition:
    from mainspring.store.jobs import definitions

    environment = app.settings.environment
    found = await app.opened.database.read(lambda connection: definitions.get(connection, environment, name))
    if found is None:
        raise JobNotFoundError(f"no job is called {name!r} in the environment {environment!r}: `mainspring jobs list`")
    return found


def _job_record(definition: StoredDefinition, now: datetime) -> dict[str, Any]:
    schedule = definition.schedule
    shown = None if schedule is None else records.schedule_record(definition.environment, definition.name, schedule)
    if shown is not None:
        shown["nextRunAt"] = instant_text(_next(definition, now))
    return records.definition_record(definition) | {"schedule": shown}


def _orphaned(definition: StoredDefinition) -> str | None:
    if definition.orphaned_at is None:
        return None
    said = {"undeclared": "its service does not list it any more", "callback_missing": "its service does not know it"}
    return f"since {local_time(definition.orphaned_at)}: {said[definition.orphaned_reason or '']}"


def _fires(definition: StoredDefinition) -> str | None:
    if definition.schedule is None:
        return None
    words = definition.schedule.schedule.describe()
    zone = definition.schedule.text.timezone
    stopped = "" if definition.schedule.enabled else " [yellow](stopped)[/]"
    return words + ("" if zone == "UTC" else f" ({zone})") + stopped


def _instants(definition: StoredDefinition, now: datetime, count: int) -> Iterator[datetime]:
    if definition.schedule is None or not definition.schedule.enabled:
        return
    schedule, instant = definition.schedule.schedule, definition.schedule.next_run_at
    if instant is not None and instant <= now:  # no node has fired it yet
        instant = schedule.next_after(now)
    while instant is not None and count > 0:
        yield instant
        instant, count = schedule.next_after(instant), count - 1


def _next(definition: StoredDefinition, now: datetime) -> datetime | None:
    return next(_instants(definition, now, 1), None)
