"""Pages of runs by every filter: the right ones, in their order, however deep, and never by a scan of the history."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import Status, Trigger
from mainspring.store.engine.dialect import store_now
from mainspring.store.runs import cron_run_pages, history_ends, index_ends
from mainspring.store.runs.cron_run_pages import WantedRuns
from mainspring.store.tables import executions
from mainspring.world import uuid7
from tests.node_role import run_statements
from tests.store.test_hot_path_guards import statements_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from mainspring.domain.execution import Execution
    from mainspring.store.runs.execution_pages import Page
    from tests.store.conftest import Lab, StoreClock

JOBS = ("hourly", "nightly", "rare")
TRIGGERS = (Trigger.CRON.value, Trigger.CRON.value, Trigger.ADMIN.value)
STATUSES = (Status.SUCCEEDED.value, Status.SUCCEEDED.value, Status.FAILED.value, Status.SKIPPED.value)


def ended_row(lab: Lab, created_at: datetime, number: int, **said: Any) -> dict[str, Any]:
    """Return a row of history."""
    defaults: dict[str, Any] = {
        "id": uuid7(int(created_at.timestamp() * 1000), number << 40 | 0x3FFF),
        "environment": lab.environment,
        "queue": "default",
        "job_name": "hourly",
        "trigger": Trigger.CRON.value,
        "created_at": created_at,
        "updated_at": created_at,
        "started_at": created_at,
        "completed_at": created_at + timedelta(seconds=1),
        "status": Status.SUCCEEDED.value,
        "error_fingerprint": None,
        "duration_ms": 1000,
    }
    return defaults | said


async def write(lab: Lab, rows: Sequence[dict[str, Any]]) -> None:
    await lab.database.tx(lambda connection: connection.execute(sa.insert(executions), rows))


async def analyze_history(lab: Lab, request: pytest.FixtureRequest) -> None:
    """Let PostgreSQL know what is in history: the owner of the tables does, where a node's role is let off in silence.

    Without that plans depend on whether autovacuum has come by.
    """
    if lab.database.dialect_name == "postgresql":
        await run_statements(request.getfixturevalue("migrated_postgresql_url"), ["analyze mainspring.executions"])


async def go_late_into_a_week(lab: Lab, clock: StoreClock) -> datetime:
    """Move the store to a Saturday evening and return that instant: what ended lately is in one week then.

    Of a week that has just begun PostgreSQL rather reads the few rows than an index.
    """
    now = await lab.scalar(sa.select(store_now()))
    evening = (now - timedelta(days=now.weekday() - 5)).replace(hour=18, minute=0, second=0)
    clock.advance(((evening - now) % timedelta(weeks=1)).total_seconds())
    return await lab.scalar(sa.select(store_now()))


async def some_history(lab: Lab, *, count: int = 120) -> list[dict[str, Any]]:
    """Write runs of three jobs, one a minute until now, the oldest first."""
    now = await lab.scalar(sa.select(store_now()))
    rows = [
        ended_row(
            lab,
            now - timedelta(minutes=count - number),
            number,
            job_name=JOBS[number * 7 % 11 % 3],
            trigger=TRIGGERS[number * 5 % 13 % 3],
            status=(status := STATUSES[number * 3 % 7 % 4]),
            error_fingerprint=f"error-{number % 3}" if status == Status.FAILED.value else None,
        )
        for number in range(count)
    ]
    await write(lab, rows)
    return rows


async def page(lab: Lab, wanted: WantedRuns, *, skip: int = 0, size: int = 1000) -> Page:
    return await lab.database.read(
        lambda connection: cron_run_pages.page(connection, lab.environment, wanted, skip=skip, size=size)
    )


def ids(runs: Sequence[Execution]) -> list[UUID]:
    return [run.id for run in runs]


async def test_each_filter_shows_what_matches_and_nothing_else_the_newest_first(lab: Lab) -> None:
    rows = await some_history(lab)
    middle = rows[60]["created_at"]
    cases: list[tuple[WantedRuns, Callable[[dict[str, Any]], bool]]] = [
        (WantedRuns(), lambda row: True),
        (WantedRuns(names=["hourly"]), lambda row: row["job_name"] == "hourly"),
        (WantedRuns(names=["hourly", "rare"]), lambda row: row["job_name"] != "nightly"),
        (WantedRuns(statuses=frozenset({Status.FAILED})), lambda row: row["status"] == "failed"),
        (
            WantedRuns(names=["rare"], statuses=frozenset({Status.FAILED, Status.SKIPPED})),
            lambda row: row["job_name"] == "rare" and row["status"] in {"failed", "skipped"},
        ),
        (WantedRuns(triggers=frozenset({Trigger.ADMIN})), lambda row: row["trigger"] == "admin"),
        (WantedRuns(triggers=frozenset({Trigger.CRON})), lambda row: row["trigger"] == "cron"),
        (
            WantedRuns(names=["rare"], triggers=frozenset({Trigger.ADMIN}), statuses=frozenset({Status.FAILED})),
            lambda row: (row["job_name"], row["trigger"], row["status"]) == ("rare", "admin", "failed"),
        ),
        (WantedRuns(start=middle), lambda row: row["created_at"] >= middle),
        (WantedRuns(end=middle), lambda row: row["created_at"] < middle),
        (WantedRuns(fingerprint="error-1"), lambda row: row["error_fingerprint"] == "error-1"),
        (WantedRuns(statuses=frozenset({Status.RUNNING})), lambda row: False),
    ]
    for wanted, matches in cases:
        expected = [row["id"] for row in reversed(rows) if matches(row)]
        found = await page(lab, wanted)
        assert ids(found.executions) == expected, wanted
        assert (found.total, found.is_capped, found.has_more) == (len(expected), False, False), wanted
        oldest = await page(lab, replace(wanted, oldest_first=True))
        assert ids(oldest.executions) == expected[::-1], wanted


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_by_cursor_go_through_everything_once(lab: Lab, *, oldest_first: bool) -> None:
    rows = await some_history(lab, count=40)
    await lab.enqueue(*(lab.new(job_name="hourly") for _ in range(3)))
    wanted = WantedRuns(names=JOBS, oldest_first=oldest_first)
    seen: list[UUID] = []
    while True:
        found = await page(lab, wanted, size=7)
        assert found.total == 43, "the cursor does not change how many there are"
        seen += ids(found.executions)
        if not found.has_more:
            break
        wanted = replace(wanted, after=seen[-1])
    assert len(seen) == 43
    assert seen == sorted(seen, reverse=not oldest_first)
    assert {row["id"] for row in rows} < set(seen)


async def test_what_lives_stands_beside_what_has_ended(lab: Lab) -> None:
    await some_history(lab, count=3)
    running, queued = await lab.enqueue(lab.new(priority=1), lab.new())
    await lab.claim(1)
    for status, expected in ((Status.RUNNING, running), (Status.QUEUED, queued)):
        assert ids((await page(lab, WantedRuns(statuses=frozenset({status})))).executions) == [expected]
    assert (await page(lab, WantedRuns(names=["job"]))).total == 2
    assert (await page(lab, WantedRuns())).total == 5


async def test_another_environment_is_not_looked_into(lab: Lab) -> None:
    now = await lab.scalar(sa.select(store_now()))
    await write(lab, [ended_row(lab, now, 1, environment="prod")])
    assert (await page(lab, WantedRuns())).executions == []


async def test_a_count_ends_at_ten_thousand(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await some_history(lab, count=20)
    monkeypatch.setattr(cron_run_pages, "MOST_COUNTED", 10)
    found = await page(lab, WantedRuns(), size=5)
    assert (found.total, found.is_capped, found.has_more) == (10, True, True)


# ---- Plans ----------------------------------------------------------------------------------------------------------

FILTERS = (
    WantedRuns(names=["rare"]),
    WantedRuns(names=["rare"], statuses=frozenset({Status.FAILED})),
    WantedRuns(names=["hourly", "rare"]),
    WantedRuns(statuses=frozenset({Status.FAILED})),
    WantedRuns(statuses=frozenset({Status.FAILED}), names=["hourly"]),
    WantedRuns(triggers=frozenset({Trigger.ADMIN})),
    WantedRuns(fingerprint="error-1"),
)


async def test_no_filter_goes_through_the_whole_history(
    lab: Lab, clock: StoreClock, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """With 20,000 runs, rare ones of each kind among them, every look at history is one into an index."""
    now = await go_late_into_a_week(lab, clock)
    rows = [
        ended_row(
            lab,
            now - timedelta(seconds=20_000 - number),
            number,
            job_name="rare" if number % 4_000 == 0 else "hourly",
            trigger="admin" if number % 5_000 == 0 else "cron",
            status="failed" if number % 3_000 == 0 else "succeeded",
            error_fingerprint="error-1" if number % 3_000 == 0 else None,
        )
        for number in range(20_000)
    ]
    await write(lab, rows)
    await analyze_history(lab, request)
    for wanted in FILTERS:
        with statements_of(lab.database, monkeypatch) as sent:
            await page(lab, wanted, size=25)
        looks = [item for item in sent if "executions" in item[0] and "executions_live" not in item[0]]
        assert looks
        for statement, values in looks:
            plan = await plan_of(lab, statement, values)
            assert not scans(plan), (wanted, statement, plan)


async def plan_of(lab: Lab, statement: str, values: Any, *, in_order: bool = False) -> str:
    """Return how the database reads; `in_order`: in a transaction with `keep_order`."""
    explain = "explain query plan " if lab.database.dialect_name == "sqlite" else "explain "

    def look(connection: sa.Connection) -> Sequence[Any]:
        if in_order:
            index_ends.keep_order(connection)
        return connection.exec_driver_sql(explain + statement, values).all()

    return "\n".join(str(row[-1]) for row in await lab.database.read(look))


WEEK_SCANNED = re.compile(r"Seq Scan on executions_\d+ .*cost=[\d.]+\.\.(\d+)")
COST_OF_A_WEEK: Final = 100
"""A week of which PostgreSQL knows that it is empty costs nothing, and is looked through."""


def scans(plan: str) -> bool:
    return any(int(cost) > COST_OF_A_WEEK for cost in WEEK_SCANNED.findall(plan)) or any(
        line.startswith("SCAN mainspring_executions") and "USING" not in line for line in plan.splitlines()
    )


@pytest.mark.parametrize("minutes", [3, 9, 11, 40])
async def test_a_span_counts_exactly_though_ids_are_made_by_other_clocks_than_instants(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    monkeypatch.setattr(history_ends, "_LEAST_LISTED", 1)  # so that a list leaves something to be counted
    now = await lab.scalar(sa.select(store_now()))
    asked = [now - timedelta(seconds=30 * number) for number in range(200)]
    ahead = [timedelta(minutes=number * 7 % 9 - 4) for number in range(200)]
    rows = [
        ended_row(lab, at, number, id=uuid7(int((at + ahead[number]).timestamp() * 1000), number))
        for number, at in enumerate(asked)
    ]
    await write(lab, rows)
    start, end = now - timedelta(minutes=30 + minutes), now - timedelta(minutes=30)
    wanted = WantedRuns(names=[rows[0]["job_name"]], start=start, end=end)
    with statements_of(lab.database, monkeypatch) as sent:
        found = await page(lab, wanted, size=2)
    assert found.total == sum(start <= at < end for at in asked)
    in_history = [
        statement for statement, _values in sent if "count(" in statement and "executions_live" not in statement
    ]
    assert len(in_history) == (3 if minutes > 10 else 1), "what is certain, and both edges"


async def test_deep_pages_look_no_run_up_for_when_it_ended(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await some_history(lab, count=1_200)
    wanted = WantedRuns(names=["hourly"])
    expected = [row["id"] for row in reversed(rows) if row["job_name"] == "hourly"]
    for skip, is_late in ((2, True), (300, False)):
        with statements_of(lab.database, monkeypatch) as sent:
            found = await page(lab, wanted, skip=skip, size=2)
        assert [run.id for run in found.executions] == expected[skip : skip + 2]
        laterally = [statement for statement, _values in sent if "LATERAL" in statement]
        on_postgresql = lab.database.dialect_name == "postgresql"
        assert any("completed_at" in statement for statement in laterally) == (is_late and on_postgresql)
