"""`dump`: the whole store as lines of JSON, in an order that is the same each time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import records
from mainspring.cli.application import AppOption, app_or_store, run_connected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from mainspring.app import Mainspring
    from mainspring.store.engine.database import Database
    from mainspring.store.upkeep.dump import TickRecord


def dump(
    app_path: AppOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As lines of JSON; there is no other form.")] = True,  # noqa: ARG001 - said by the contract
) -> None:
    """Write all definitions, schedules, ticks, executions and attempts: one JSON object a line, with its `kind`."""
    from mainspring.domain.write_door import verbatim_json

    stdout = sys.stdout

    async def work(app: Mainspring) -> None:
        async for record in _records(app.opened.database):
            stdout.write(verbatim_json(record) + "\n")

    run_connected(lambda: app_or_store(app_path), work)
    stdout.flush()


async def _records(database: Database) -> AsyncGenerator[dict[str, Any]]:
    from mainspring.store.upkeep import dump as stored

    definitions = await database.read(stored.all_definitions)
    sensitive = {(item.environment, item.name): item.code["sensitive"] for item in definitions}
    for definition in definitions:
        yield {"kind": "definition", **records.definition_record(definition)}
    for definition in definitions:
        if definition.schedule is not None:
            yield {
                "kind": "schedule",
                **records.schedule_record(definition.environment, definition.name, definition.schedule),
            }
    tick: TickRecord | None = None
    while ticks := await database.read(lambda connection, last=tick: stored.ticks_after(connection, last)):
        for tick in ticks:
            yield {"kind": "tick", **records.tick_record(tick)}
    names = await database.read(stored.node_names)
    last: UUID | None = None
    while found := await database.read(lambda connection, last=last: stored.executions_after(connection, last)):
        for item in found:
            name = (item.execution.environment, item.execution.job_name)
            execution = records.execution_record(item.execution, sensitive.get(name, ()))
            yield {"kind": "execution", **execution, "node": _name(names, item.execution.node_id)}
            for attempt in item.attempts:
                node_name = _name(names, attempt.node_id)
                yield {"kind": "attempt", **records.attempt_record(attempt, node_name=node_name)}
        last = found[-1].execution.id


def _name(names: dict[UUID, str], node_id: UUID | None) -> str | None:
    return None if node_id is None else names.get(node_id, str(node_id))
