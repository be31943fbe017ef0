"""The on-demand job `cleanup` removes what is old of one organization, and nothing else, on either database."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa

from mainspring.builtin.cleanup import Cleanup
from mainspring.domain.access import Scope
from mainspring.domain.execution import Status, Trigger
from mainspring.jobs.context import JobContext
from mainspring.reports.local_storage import LocalStorage
from mainspring.settings import load_settings
from mainspring.store.engine.dialect import store_now
from mainspring.store.runs import executions, run_logs
from mainspring.store.tables import attempts, audit_entries, execution_logs
from mainspring.store.tables import executions as ended
from mainspring.store.upkeep import cleanup

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from mainspring.jobs.context import LogLine
    from mainspring.settings import Settings
    from tests.store.conftest import Lab, StoreClock

DAY = 86_400.0
OLD: dict[str, Any] = {"target": "executions", "olderThanDays": 2}


@dataclass
class Notes:
    """A sink that keeps the checkpoints, and ends the attempt at one of them if it is told to."""

    checkpoints: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    percents: list[int] = field(default_factory=list[int])
    crash_at: int | None = None

    def log(self, context: JobContext[Any], line: LogLine) -> None: ...

    def progressed(self, context: JobContext[Any]) -> None:
        self.percents.append(context.reported.percent)

    def beat(self, context: JobContext[Any]) -> None: ...

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        if len(self.checkpoints) == self.crash_at:
            raise asyncio.CancelledError
        self.checkpoints.append(cast("dict[str, Any]", value))


class Attic:
    """A store with what is old and what is not."""

    def __init__(self, lab: Lab, clock: StoreClock, folder: Path, settings: Settings) -> None:
        self.lab = lab
        self.clock = clock
        self.storage = LocalStorage(folder)
        self.settings = settings
        self.folder = folder

    async def end(self, organization: str | None, *, lines: int = 1, user: str = "ada", **said: Any) -> UUID:
        """End an execution now, at its second attempt, with log lines."""
        execution_id = await self.lab.enqueue_one(organization_id=organization, user_id=user)
        first = await self.lab.claim_one()
        await self._log(first.id, first.fence, first.attempt, lines)
        await self.lab.release(first)
        await self.lab.finish(self.lab.end(await self.lab.claim_one(), **said))
        return execution_id

    async def export(self, organization: str, *, user: str = "ada") -> tuple[UUID, Path]:
        """End an export now, with its file."""
        execution_id = await self.lab.enqueue_one(organization_id=organization, user_id=user, job_name="export_report")
        name = f"quotes_2024-01-30_{execution_id}.csv"
        claimed = await self.lab.claim_one(names=("export_report",))
        await self.lab.finish(self.lab.end(claimed, result=json.dumps({"downloadUrl": f"/api/v1/exports/{name}"})))
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).write_bytes(b"1\r\n")
        return execution_id, self.folder / name

    async def clean_up(
        self, payload: dict[str, Any], *, organization: str | None = "acme", sink: Notes | None = None, attempt: int = 1
    ) -> dict[str, Any]:
        """Carry out a cleanup."""
        notes = sink or Notes()
        ctx: JobContext[Any] = JobContext(
            execution_id=self.lab.world.new_id(),
            job_name="cleanup",
            attempt=attempt,
            fence=attempt,
            trigger=Trigger.API,
            node="node",
            payload=payload,
            sink=notes,
            organization_id=organization,
            user_id="eve",
            last_checkpoint=notes.checkpoints[-1] if notes.checkpoints else None,
        )
        job = Cleanup(self.lab.database, self.storage, self.settings, self.lab.world)
        return await job.carry_out(ctx, payload)

    async def left(self, table: sa.Table) -> set[UUID]:
        """Return the executions that a table tells of."""
        column = table.c.id if table is ended else table.c.execution_id
        return set(
            await self.lab.database.read(lambda connection: connection.execute(sa.select(column)).scalars().all())
        )

    async def audited(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return who did what, by the audit."""
        query = sa.select(audit_entries).order_by(audit_entries.c.id)
        rows = await self.lab.database.read(lambda connection: connection.execute(query).all())
        return [(row.actor, row.action, json.loads(row.after)) for row in rows]

    async def _log(self, execution_id: UUID, fence: int, attempt: int, count: int) -> None:
        now = await self.lab.scalar(sa.select(store_now()))
        lines = [run_logs.WrittenLine(execution_id, fence, attempt, now, "info", "working", None)] * count
        await self.lab.database.tx(lambda connection: run_logs.write(connection, lines))


@pytest.fixture
def attic(lab: Lab, clock: StoreClock, tmp_path: Path) -> Attic:
    settings = load_settings(environment="test", secret_key="the secret key of the tests, 32 bytes")
    return Attic(lab, clock, tmp_path / "exports", settings)


async def test_what_is_old_goes_with_all_that_belongs_to_it(attic: Attic) -> None:
    old = {await attic.end("acme"), await attic.end("acme", status=Status.FAILED)}
    attic.clock.advance(3 * DAY)
    new = await attic.end("acme")

    result = await attic.clean_up(OLD)

    assert result == {"target": "executions", "dryRun": False, "olderThanDays": 2, "matched": 2, "deleted": 2}
    for table in (ended, attempts, execution_logs):
        assert await attic.left(table) == {new}, table
    assert not old & await attic.left(ended)


async def test_nothing_of_anybody_else_is_touched(attic: Attic) -> None:
    kept = {await attic.end("globex"), await attic.end(None)}
    await attic.end("acme")
    foreign, file = await attic.export("globex")
    attic.clock.advance(3 * DAY)

    for target in ("logs", "exports", "executions"):
        await attic.clean_up({"target": target, "olderThanDays": 0})

    assert await attic.left(ended) == {*kept, foreign}
    assert await attic.left(execution_logs) == kept
    assert file.exists()


async def test_a_run_without_an_organization_deals_with_what_belongs_to_none(attic: Attic) -> None:
    kept = await attic.end("acme")
    await attic.end(None)
    attic.clock.advance(3 * DAY)

    assert (await attic.clean_up(OLD, organization=None))["deleted"] == 1
    assert await attic.left(ended) == {kept}


async def test_one_user_cleans_up_after_itself_alone(attic: Attic) -> None:
    kept = await attic.end("acme", user="bob")
    await attic.end("acme", user="ada")
    attic.clock.advance(3 * DAY)

    assert (await attic.clean_up(OLD | {"user": "ada"}))["deleted"] == 1
    assert await attic.left(ended) == {kept}


async def test_what_is_alive_stays_however_old_it_is(attic: Attic) -> None:
    waiting = await attic.lab.enqueue_one(organization_id="acme")
    attic.clock.advance(30 * DAY)

    assert (await attic.clean_up({"target": "executions", "olderThanDays": 0}))["matched"] == 0
    assert await attic.lab.status(waiting) is Status.QUEUED


@pytest.mark.parametrize("target", ["executions", "logs", "exports"])
async def test_a_dry_run_counts_and_removes_nothing(attic: Attic, target: str) -> None:
    await attic.end("acme", lines=2)
    execution_id, file = await attic.export("acme")
    attic.clock.advance(3 * DAY)

    result = await attic.clean_up({"target": target, "olderThanDays": 2, "dryRun": True})

    matched = {"executions": 2, "logs": 2, "exports": 1}[target]
    assert (result["matched"], result["deleted"], result["dryRun"]) == (matched, 0, True)
    assert execution_id in await attic.left(ended)
    assert len(await attic.left(execution_logs)) == 1
    assert file.exists()
    assert await attic.audited() == []


async def test_log_lines_go_alone(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "LINES_AT_ONCE", 2)
    old = await attic.end("acme", lines=5)
    attic.clock.advance(3 * DAY)
    new = await attic.end("acme")

    result = await attic.clean_up({"target": "logs", "olderThanDays": 2})

    assert (result["matched"], result["deleted"]) == (5, 5)
    assert await attic.left(execution_logs) == {new}
    assert await attic.left(ended) == {old, new}


async def test_files_of_exports_go_alone(attic: Attic) -> None:
    old, old_file = await attic.export("acme")
    gone, gone_file = await attic.export("acme")
    gone_file.unlink()
    attic.clock.advance(3 * DAY)
    new, new_file = await attic.export("acme")

    result = await attic.clean_up({"target": "exports", "olderThanDays": 2})

    assert (result["matched"], result["deleted"]) == (1, 1)
    assert not old_file.exists()
    assert new_file.exists()
    assert await attic.left(ended) == {old, gone, new}


async def test_executions_take_their_files_along(attic: Attic) -> None:
    _, file = await attic.export("acme")
    attic.clock.advance(3 * DAY)

    assert (await attic.clean_up(OLD))["deleted"] == 1
    assert not file.exists()


async def test_a_result_leads_to_no_file_but_that_of_its_own_execution(attic: Attic) -> None:
    _, foreign = await attic.export("globex")
    execution_id = await attic.lab.enqueue_one(organization_id="acme", job_name="export_report")
    claimed = await attic.lab.claim_one(names=("export_report",))
    url = f"/api/v1/exports/{foreign.name}"
    await attic.lab.finish(attic.lab.end(claimed, result=json.dumps({"downloadUrl": url})))
    attic.clock.advance(3 * DAY)

    await attic.clean_up({"target": "exports", "olderThanDays": 2})

    assert foreign.exists()
    assert execution_id in await attic.left(ended)


async def test_it_goes_on_where_a_crash_has_left_it(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "PAGE", 2)
    for _ in range(7):
        await attic.end("acme", lines=0)
    attic.clock.advance(3 * DAY)
    notes = Notes(crash_at=3)

    with pytest.raises(asyncio.CancelledError):
        await attic.clean_up(OLD, sink=notes)
    assert [kept["deleted"] for kept in notes.checkpoints] == [0, 2, 4]
    attic.clock.advance(30 * DAY)
    late = await attic.end("acme", lines=0)
    attic.clock.advance(30 * DAY)
    notes.crash_at = None

    result = await attic.clean_up(OLD, sink=notes, attempt=2)

    # What has become old since is not what was asked for.
    assert (result["matched"], result["deleted"]) == (7, 7)
    assert await attic.left(ended) == {late}


async def test_its_progress_only_ever_grows(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "PAGE", 1)
    for _ in range(5):
        await attic.end("acme", lines=0)
    attic.clock.advance(3 * DAY)
    notes = Notes()

    await attic.clean_up(OLD, sink=notes)

    seen = list(dict.fromkeys(notes.percents))
    assert seen == sorted(seen)
    assert seen == [20, 40, 60, 67, 74, 81, 88, 95, 100]


async def test_what_was_retried_meanwhile_keeps_its_lines(attic: Attic) -> None:
    execution_id = await attic.end("acme", status=Status.FAILED)
    scope = Scope("test", "acme")
    before = await attic.lab.scalar(sa.select(store_now()))
    attic.clock.advance(3 * DAY)
    page = await attic.lab.database.read(lambda connection: cleanup.page(connection, scope, before))

    execution = await attic.lab.get(execution_id)
    await attic.lab.database.tx(lambda connection: executions.retry(connection, execution))

    assert await attic.lab.database.tx(lambda connection: cleanup.delete(connection, scope, page)) == 0
    assert await attic.left(execution_logs) == {execution_id}


async def test_who_removed_what_is_in_the_audit_before_anything_is_removed(attic: Attic) -> None:
    await attic.end("acme")
    attic.clock.advance(3 * DAY)
    notes = Notes(crash_at=0)

    with pytest.raises(asyncio.CancelledError):
        await attic.clean_up(OLD, sink=notes)
    ((actor, action, facts),) = await attic.audited()
    assert (actor, action, facts["target"], facts["matched"], facts["deleted"]) == (
        "eve",
        "cleanup.begin",
        "executions",
        1,
        0,
    )

    await attic.clean_up(OLD)
    *_, (_, last, facts) = await attic.audited()
    assert (last, facts["deleted"]) == ("cleanup.end", 1)
