"""The built-in reports: the rows of one organization and nobody else's, page by page, on both databases."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.builtin import reports
from mainspring.builtin.reports import built_in_reports
from mainspring.domain.execution import Status
from mainspring.errors import InvalidPayloadError, PermanentError
from mainspring.reports.source import ReportCaller
from mainspring.store.auditing.audit_entries import AuditEntry, insert_audit_entry
from mainspring.store.tables import executions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from uuid import UUID

    from mainspring.reports.source import Report
    from mainspring.store.engine.database import Connection, Database
    from tests.store.conftest import Lab

ADA = ReportCaller("acme", "ada", "test")


def report_named(lab: Lab, name: str) -> Report:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Database]:
        yield lab.database

    return next(report for report in built_in_reports(opened) if report.name == name)


async def exported(lab: Lab, name: str, caller: ReportCaller = ADA, **filters: Any) -> list[dict[str, Any]]:
    async with report_named(lab, name).opened(filters, caller) as rows:
        return [row async for row in rows]


async def ids(lab: Lab, caller: ReportCaller = ADA, **filters: Any) -> list[UUID]:
    return [row["id"] for row in await exported(lab, "executions", caller, **filters)]


async def enqueue(lab: Lab, user: str | None = "ada", organization: str | None = "acme", **fields: Any) -> UUID:
    return await lab.enqueue_one(organization_id=organization, user_id=user, **fields)


class TestExecutions:
    async def test_are_the_callers_own_the_newest_first_live_and_ended(self, lab: Lab) -> None:
        ended = await enqueue(lab)
        await lab.succeed(await lab.claim_one())
        queued = await enqueue(lab)
        for user, organization in (("bob", "acme"), ("ada", "globex"), (None, None)):
            await enqueue(lab, user, organization)
        rows = await exported(lab, "executions")
        assert [row["id"] for row in rows] == sorted([ended, queued], reverse=True)
        by_id = {row["id"]: row for row in rows}
        assert (by_id[queued]["status"], by_id[ended]["status"]) == ("queued", "succeeded")
        assert by_id[ended]["completedAt"] is not None
        assert [by_id[queued][name] for name in ("jobType", "userId", "completedAt")] == ["job", "ada", None]

    async def test_hold_neither_payload_nor_result(self, lab: Lab) -> None:
        await enqueue(lab, payload='{"secret": 1}')
        [row] = await exported(lab, "executions")
        assert not {"payload", "result", "organizationId"} & set(row)

    async def test_of_all_users_are_those_of_the_organization(self, lab: Lab) -> None:
        own, colleague = await enqueue(lab), await enqueue(lab, "bob")
        await enqueue(lab, "eve", "globex")
        assert await ids(lab, allUsers=True) == sorted([own, colleague], reverse=True)
        assert await ids(lab, allUsers=False) == [own]

    async def test_of_another_environment_are_not_there(self, lab: Lab) -> None:
        await enqueue(lab)
        assert await ids(lab, replace(ADA, environment="production")) == []

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.SUCCEEDED, Status.FAILED])
    async def test_can_be_those_of_one_status(self, lab: Lab, status: Status) -> None:
        made: dict[Status, UUID] = {}
        for end in (Status.SUCCEEDED, Status.FAILED):
            made[end] = await enqueue(lab)
            await lab.finish(lab.end(await lab.claim_one(), end))
        made[Status.RUNNING] = await enqueue(lab)
        await lab.claim_one()
        made[Status.QUEUED] = await enqueue(lab)
        assert await ids(lab, status=status.value) == [made[status]]

    async def test_can_be_those_of_one_job(self, lab: Lab) -> None:
        await enqueue(lab)
        other = await enqueue(lab, job_name="other")
        assert await ids(lab, jobType="other") == [other]

    async def test_can_be_those_of_some_days(self, lab: Lab) -> None:
        made = [await enqueue(lab) for _ in range(4)]
        last_moment = datetime(2024, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
        instants = [last_moment - timedelta(days=1), datetime(2024, 1, 31, tzinfo=UTC), last_moment,
                    last_moment + timedelta(microseconds=1)]  # fmt: skip

        def date_back(connection: Connection) -> None:
            for execution_id, instant in zip(made, instants, strict=True):
                table = reports.report_pages.executions_live
                connection.execute(sa.update(table).where(table.c.id == execution_id).values(created_at=instant))

        await lab.database.tx(date_back)
        assert await ids(lab, dateFrom="2024-01-31", dateTo="2024-01-31") == sorted(made[1:3], reverse=True)
        assert await ids(lab, dateFrom="2024-02-01") == [made[3]]
        assert await ids(lab, dateTo="2024-01-30") == [made[0]]
        assert len(await ids(lab, dateTo="9999-12-31")) == 4

    async def test_are_read_page_by_page_without_losing_one_that_ends_meanwhile(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reports, "ROWS_PER_PAGE", 2)
        made = [await enqueue(lab) for _ in range(5)]
        seen: list[UUID] = []
        async with report_named(lab, "executions").opened({}, ADA) as rows:
            async for row in rows:
                seen.append(row["id"])
                if len(seen) == 2:
                    for claimed in await lab.claim():
                        await lab.succeed(claimed)
        assert seen == sorted(made, reverse=True)
        assert await lab.scalar(sa.select(sa.func.count()).select_from(executions)) == 5

    @pytest.mark.parametrize("filters", [{"status": "done"}, {"status": 1}, {"allUsers": "yes"}])
    async def test_refuse_filters_that_mean_nothing(self, lab: Lab, filters: dict[str, Any]) -> None:
        with pytest.raises(InvalidPayloadError):
            await exported(lab, "executions", **filters)

    @pytest.mark.parametrize("name", ["executions", "audit"])
    async def test_of_nobody_are_refused(self, lab: Lab, name: str) -> None:
        with pytest.raises(PermanentError, match="enqueue its export with organization_id"):
            await exported(lab, name, ReportCaller(None, None, "test"))


class TestAudit:
    async def test_is_that_of_the_organization_the_newest_first(self, lab: Lab) -> None:
        def entry(organization: str | None, environment: str = "test") -> AuditEntry:
            return AuditEntry(
                id=lab.world.new_id(), environment=environment, at=datetime(2024, 1, 31, 12, tzinfo=UTC), actor="ada",
                actor_kind="user", organization_id=organization, action="execution.cancel", target_kind="execution",
                target_id="1", allowed=True,
            )  # fmt: skip

        entries = [entry("acme"), entry("globex"), entry(None), entry("acme"), entry("acme", "production")]

        def write(connection: Connection) -> None:
            for one in entries:
                insert_audit_entry(connection, one, b"key")

        await lab.database.tx(write)
        rows = await exported(lab, "audit")
        assert [row["id"] for row in rows] == sorted([entries[0].id, entries[3].id], reverse=True)
        assert (rows[0]["targetKind"], rows[0]["allowed"], "mac" in rows[0]) == ("execution", True, False)
        assert await exported(lab, "audit", dateTo="2024-01-30") == []
