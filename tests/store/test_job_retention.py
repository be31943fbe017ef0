"""Runs of single jobs go earlier where an admin has said so, by how they ended, and nothing else goes with them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.engine.dialect import store_now
from mainspring.store.jobs import policies
from mainspring.store.tables import execution_logs, executions, executions_live
from mainspring.store.upkeep import job_retention
from mainspring.store.upkeep.job_retention import Rule
from tests.store.clockwork import MINUTELY
from tests.store.test_cron_run_pages import ended_row, write

if TYPE_CHECKING:
    from tests.store.clockwork import Clockwork
    from tests.store.conftest import Lab


async def left(lab: Lab) -> set[tuple[str, str]]:
    query = sa.select(executions.c.job_name, executions.c.status)
    return await lab.database.read(lambda connection: {tuple(row) for row in connection.execute(query)})


async def prune(lab: Lab, rule: Rule) -> int:
    return await lab.database.tx(lambda connection: job_retention.prune(connection, lab.environment, rule))


async def test_only_what_the_rule_names_goes_with_its_lines(lab: Lab) -> None:
    now = await lab.scalar(sa.select(store_now()))
    old = now - timedelta(days=3)
    rows = [
        ended_row(lab, old, 1, job_name="chatty"),
        ended_row(lab, old, 2, job_name="chatty", status="failed"),
        ended_row(lab, now, 3, job_name="chatty"),
        ended_row(lab, old, 4, job_name="other"),
        ended_row(lab, old, 5, job_name="chatty", environment="prod"),
    ]
    await write(lab, rows)
    lines: list[dict[str, Any]] = [
        {"execution_id": row["id"], "attempt": 1, "at": old, "level": "info", "message": "said"} for row in rows
    ]
    await lab.database.tx(lambda connection: connection.execute(sa.insert(execution_logs), lines))
    await lab.enqueue_one(job_name="chatty")
    assert await prune(lab, Rule("chatty", "succeeded", 2)) == 1
    assert await left(lab) == {("chatty", "failed"), ("chatty", "succeeded"), ("other", "succeeded")}
    said = await lab.database.read(
        lambda connection: set(connection.execute(sa.select(execution_logs.c.execution_id)).scalars())
    )
    assert said == {row["id"] for row in rows[1:]}
    assert await lab.scalar(sa.select(sa.func.count()).select_from(executions_live)) == 1
    assert await prune(lab, Rule("chatty", "succeeded", 2)) == 0
    assert await prune(lab, Rule("chatty", "failed", 0)) == 1


async def test_the_rules_are_what_admins_have_said(clockwork: Clockwork) -> None:
    lab = clockwork.lab
    await clockwork.declare(MINUTELY)
    said = {"retention": {"succeeded": 2, "failed": None}, "timeout": 5}
    await lab.database.tx(lambda connection: policies.write(connection, lab.environment, "minutely", said))
    found = await lab.database.read(lambda connection: job_retention.rules(connection, lab.environment))
    assert found == [Rule("minutely", "succeeded", 2)]
