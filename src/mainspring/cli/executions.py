"""`executions`: what ran, what it said, and stopping or trying it again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from mainspring.cli import records
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.output import JsonOption, coloured_status, local_time, plain, print_facts, print_json, print_table
from mainspring.domain.execution import Status
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.app import Mainspring
    from mainspring.domain.execution import Attempt, Execution
    from mainspring.store.jobs.definitions import SensitiveFields
    from mainspring.store.queue.wait_reasons import Wait

program = typer.Typer(help="What ran: show, stop, try again.", no_args_is_help=True)

IdArgument = Annotated[UUID, typer.Argument(help="The execution's id.")]
_LOOK_SECONDS: Final = 0.5
_LINES_AT_ONCE: Final = 1000


@program.command("list")
def list_executions(
    job: Annotated[str | None, typer.Option(help="Those of this job.")] = None,
    status: Annotated[Status | None, typer.Option(help="Those in this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 25,
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List executions, the newest first."""

    async def work(app: Mainspring) -> tuple[list[Execution], SensitiveFields]:
        from mainspring.store.runs import executions

        _, actor = app.commands_and_actor()
        wanted = executions.Filter(job_name=job, status=status)
        found = await app.opened.database.read(
            lambda connection: executions.find(connection, actor.scope, wanted, most=limit)
        )
        return found, await _sensitive_fields(app)

    found, sensitive = run_connected(lambda: app_or_store(app_path), work)
    if as_json:
        print_json([records.execution_record(execution, sensitive.get(execution.job_name, ())) for execution in found])
        return
    print_table(
        ("execution", "job", "status", "progress", "created", "took", "attempts"),
        (
            (
                execution.id,
                execution.job_name,
                coloured_status(execution.status),
                f"{execution.progress.percent} %",
                local_time(execution.created_at),
                None if execution.duration_ms is None else f"{execution.duration_ms} ms",
                execution.attempt,
            )
            for execution in found
        ),
        empty="there are none",
    )


@program.command()
def show(execution_id: IdArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Show one execution, and every attempt at it."""

    async def work(
        app: Mainspring,
    ) -> tuple[Execution, Wait | None, list[Attempt], Mapping[UUID, str], SensitiveFields]:
        from mainspring.store.queue import wait_reasons
        from mainspring.store.runs import executions
        from mainspring.store.upkeep import dump

        commands, actor = app.commands_and_actor()
        execution = await commands.get(actor.scope, execution_id)
        wait, attempts, names = await app.opened.database.read(
            lambda connection: (
                wait_reasons.waiting_for(connection, execution.id),
                executions.earlier_attempts(connection, execution),
                dump.node_names(connection),
            )
        )
        return execution, wait, attempts, names, await _sensitive_fields(app)

    execution, wait, attempts, names, sensitive = run_connected(lambda: app_or_store(app_path), work)
    tried = [
        records.attempt_record(attempt, node_name=names.get(attempt.node_id) if attempt.node_id else None)
        for attempt in attempts
    ]
    record = records.execution_record(execution, sensitive.get(execution.job_name, ()))
    if as_json:
        print_json(record | records.wait_record(wait) | {"attempts": tried})
        return
    _show_execution(execution, wait, record)
    _show_attempts(tried)
    if execution.result is not None:
        print_json(execution.result)


@program.command()
def cancel(execution_id: IdArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Cancel an execution: at once where it waits, within ten seconds where it runs."""

    async def work(app: Mainspring) -> tuple[Execution, SensitiveFields]:
        access = AccessAtTerminal.of(app)
        return await access.commands.executions.cancel(access.actor, execution_id), await _sensitive_fields(app)

    execution, sensitive = run_connected(lambda: app_or_store(app_path), work)
    what = "is told to stop" if execution.cancel_requested else "is cancelled"
    _show_changed(execution, sensitive, what, as_json=as_json)


@program.command()
def retry(execution_id: IdArgument, app_path: AppOption = None, *, as_json: JsonOption = False) -> None:
    """Queue a failed execution again, under its id."""

    async def work(app: Mainspring) -> tuple[Execution, SensitiveFields]:
        access = AccessAtTerminal.of(app)
        return await access.commands.executions.retry(access.actor, execution_id), await _sensitive_fields(app)

    execution, sensitive = run_connected(lambda: app_or_store(app_path), work)
    _show_changed(execution, sensitive, "is queued again", as_json=as_json)


@program.command()
def logs(
    execution_id: IdArgument,
    app_path: AppOption = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what an execution said."""
    stdout = sys.stdout

    async def work(app: Mainspring) -> None:
        from mainspring.store.runs import run_logs

        commands, actor = app.commands_and_actor()
        last = 0
        while True:
            ended = (await commands.get(actor.scope, execution_id)).status.is_final
            lines = await app.opened.database.read(
                lambda connection, last=last: run_logs.lines_of(
                    connection, execution_id, after=last, most=_LINES_AT_ONCE
                )
            )
            for line in lines:
                stdout.write(_log_text(line, as_json=as_json) + "\n")
            stdout.flush()
            if lines:
                last = lines[-1].id
            elif ended or not follow:
                return
            else:
                await app.world.sleep(_LOOK_SECONDS)

    run_connected(lambda: app_or_store(app_path), work)


def _log_text(line: Any, *, as_json: bool) -> str:  # noqa: ANN401 - a row of the store
    import orjson

    fields: dict[str, Any] = orjson.loads(line.fields) if line.fields else {}
    if as_json:
        shown = {"at": instant_text(line.at), "attempt": line.attempt, "level": line.level, "message": line.message}
        return orjson.dumps(shown | {"fields": fields}).decode()
    told = "".join(f"  {key}={value}" for key, value in fields.items())
    return f"{line.at.astimezone():%H:%M:%S.%f}"[:-3] + f"  {line.level:<7}  {line.message}{told}"


async def _sensitive_fields(app: Mainspring) -> SensitiveFields:
    from mainspring.store.jobs import definitions

    environment = app.settings.environment
    return await app.opened.database.read(lambda connection: definitions.sensitive_fields(connection, environment))


def _show_changed(execution: Execution, sensitive: SensitiveFields, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(records.execution_record(execution, sensitive.get(execution.job_name, ())))
    else:
        typer.echo(f"execution {execution.id} of {execution.job_name!r} {what}")


def _show_execution(execution: Execution, wait: Wait | None, record: Mapping[str, Any]) -> None:
    progress = execution.progress
    step = f", step {progress.current_step} of {progress.total_steps}" if progress.total_steps else ""
    error = record["errorMessage"]
    print_facts(
        [
            ("execution", execution.id),
            ("job", execution.job_name),
            ("status", coloured_status(execution.status)),
            ("waits for", None if wait is None else _wait_text(wait)),
            ("progress", f"{progress.percent} %{step}"),
            ("trigger", execution.trigger),
            ("user", None if execution.user_id is None else plain(execution.user_id)),
            ("organization", None if execution.organization_id is None else plain(execution.organization_id)),
            ("created", local_time(execution.created_at)),
            ("started", local_time(execution.started_at)),
            ("completed", local_time(execution.completed_at)),
            ("retries", f"{execution.retry_count} of {execution.max_retries}, lost {execution.lost_count} times"),
            ("error", None if error is None else plain(error)),
        ]
    )


def _wait_text(wait: Wait) -> str:
    return plain(wait.reason) if wait.until is None else f"{plain(wait.reason)}: {local_time(wait.until)}"


def _show_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    print_table(
        ("attempt", "node", "started", "completed", "outcome", "error"),
        (
            (
                attempt["attempt"],
                attempt["node"],
                attempt["startedAt"],
                attempt["completedAt"],
                attempt["outcome"],
                plain(attempt["error"]["message"]) if attempt["error"] else None,
            )
            for attempt in attempts
        ),
        empty="no node has tried it yet",
    )
