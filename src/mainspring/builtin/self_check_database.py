"""`validate-db` and `validate-migrations`: whether the store answers and takes writes, and whether it is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.builtin.self_check_finding import Finding, Verdict
from mainspring.errors import SchemaMismatchError
from mainspring.store.engine import partitions
from mainspring.store.upkeep import diagnosis, indexes_ahead, schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mainspring.store.engine.database import Database
    from mainspring.store.engine.partitions import Week
    from mainspring.store.upkeep.diagnosis import LiveNode
    from mainspring.world import World

_MOST_OFFSET_SECONDS: Final = 1.0
_MOST_NODE_OFFSET_SECONDS: Final = 5.0
_FEW_WEEKS: Final = 2


async def examine_database(database: Database, world: World) -> list[Finding]:
    """Ask an open database who it is, what time it is there, whether it takes writes, and which nodes are alive.

    Args:
        database: The store.
        world: The clock of this process.

    Raises:
        StoreError: It does not answer, or does not take writes.
    """
    version = await database.read(diagnosis.server_version)
    findings = [Finding("reachable", Verdict.OK, version.partition(" on ")[0])]
    findings.append(await _of_clock(database, world))
    if (await schema.check(database)).status is not schema.SchemaStatus.CURRENT:
        return [*findings, Finding("writable", Verdict.SKIPPED, "its tables are not those of this build")]
    await database.tx(diagnosis.try_to_write)
    findings.append(Finding("writable", Verdict.OK, "a statement that writes was accepted"))
    nodes = await database.read(diagnosis.live_nodes)
    if not nodes:
        told = "none: start one with `mainspring serve --app package.module:name`"
        return [*findings, Finding("nodes alive", Verdict.WARNING, told)]
    return [*findings, *(_of_node(node) for node in nodes)]


async def _of_clock(database: Database, world: World) -> Finding:
    """Compare the clocks; what the answer took on its way is no difference."""
    before, there, after = world.now(), await database.read(diagnosis.present_instant), world.now()
    offset = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    verdict = Verdict.OK if offset <= _MOST_OFFSET_SECONDS else Verdict.WARNING
    return Finding("clock", verdict, f"this host's clock differs from the database's by {offset:.3f} s")


async def examine_migrations(database: Database) -> list[Finding]:
    """Ask an open database which version of the schema it holds, and how far history is prepared.

    Of an older one it says how far the indexes are that an upgrade makes beforehand.

    Raises:
        StoreError: It does not answer, or this role may not read the schema.
    """
    state = await schema.check(database)
    if state.status is not schema.SchemaStatus.CURRENT:
        findings = [Finding.of_error("schema", SchemaMismatchError(state.description))]
        if state.status is schema.SchemaStatus.OLDER and (state.database_version or "") < indexes_ahead.REVISION:
            findings.extend(_of_indexes(*await database.read(indexes_ahead.progress)))
        return findings
    findings = [Finding("schema", Verdict.OK, state.description)]
    weeks = await database.read(partitions.weeks)
    if weeks:
        findings.append(_of_weeks(weeks, await database.read(diagnosis.present_instant)))
    return findings


def _of_indexes(made: int, wanted: int) -> list[Finding]:
    """Say how much of the longest part of an upgrade is done already; nothing where there is no history."""
    if not wanted:
        return []
    told = f"{made} of {wanted} of the history indexes are made ahead of the upgrade"
    if made == wanted:
        return [Finding("indexes", Verdict.OK, told)]
    rest = f"{told}: `mainspring db upgrade` makes the others first"
    return [Finding("indexes", Verdict.WARNING, rest)]


def _of_weeks(weeks: Sequence[Week], now: datetime) -> Finding:
    """Say how many weeks of history are made ahead; what ends in a week that is not there waits for one to be made."""
    ahead = sum(week.start > now for week in weeks)
    detail = f"{ahead} weeks of history are made ahead, up to {weeks[-1].end:%Y-%m-%d}"
    if ahead >= _FEW_WEEKS:
        return Finding("partitions", Verdict.OK, detail)
    told = f"{detail}: run a node, whose maintenance makes {partitions.WEEKS_AHEAD}, or `mainspring db upgrade`"
    return Finding("partitions", Verdict.WARNING if ahead else Verdict.FAILED, told)


def _of_node(node: LiveNode) -> Finding:
    offset = node.clock_offset_ms / 1000
    told = (
        f"{node.name} on {node.host}, process {node.pid}: {' '.join(node.roles)}, version {node.version}, "
        f"{node.slots} slots, clock {offset:+.3f} s from the database's"
    )
    return Finding("node alive", Verdict.OK if abs(offset) <= _MOST_NODE_OFFSET_SECONDS else Verdict.WARNING, told)
