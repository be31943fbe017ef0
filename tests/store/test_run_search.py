"""Finding runs by the filter language: the right ones, in pages, counted, within what somebody may see."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import sqlalchemy as sa

from mainspring.domain.access import Scope
from mainspring.domain.execution import Status
from mainspring.domain.run_filter import read_filter
from mainspring.store.engine import partitions
from mainspring.store.engine.dialect import store_now
from mainspring.store.engine.time_limit import SearchTooSlowError, time_limit
from mainspring.store.runs import run_search
from mainspring.store.runs.run_search_conditions import RunSearch
from mainspring.store.tables import definitions
from mainspring.world import uuid7
from tests.store.test_cron_run_pages import analyze_history, ended_row, go_late_into_a_week, plan_of, scans, write
from tests.store.test_hot_path_guards import statements_of

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.runs.run_search import RunPage
    from tests.store.conftest import Lab, StoreClock


_NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


async def look(lab: Lab, text: str, *, scope: Scope | None = None, size: int = 50, **cursor: UUID) -> RunPage:
    """Search as the page does."""
    found = read_filter(text)
    assert found.faults == ()
    now = await lab.scalar(sa.select(store_now()))

    def read(connection: sa.Connection) -> RunPage:
        sees = scope or Scope(lab.environment)
        search = run_search.named(connection, sees, RunSearch(found, now, UTC))
        return run_search.page(connection, sees, search, size=size, **cursor)

    return await lab.database.read(read)


async def history(lab: Lab) -> dict[str, UUID]:
    """Write four runs that have ended, each unlike the others, and return their ids by name."""
    now = await lab.scalar(sa.select(store_now()))
    said: dict[str, dict[str, Any]] = {
        "plain": {},
        "failed": {
            "job_name": "digest",
            "status": "failed",
            "error_message": "Timeout of 100% after it's late",
            "error_fingerprint": "f1",
            "attempt": 3,
        },
        "tenant": {"organization_id": "acme", "user_id": "ann", "trigger": "api", "duration_ms": 61_000},
        "tagged": {
            "queue": "mail",
            "search_terms": ["tag:big deal"],
            "payload": orjson.dumps({"a": {"b": "quotes"}, "n": 5}).decode(),
        },
    }
    ages = {"plain": 400, "failed": 300, "tenant": 200, "tagged": 100}
    rows = {
        name: ended_row(lab, now - timedelta(minutes=ages[name]), number, **{"search_terms": None, "payload": None,
        "organization_id": None, "user_id": None, "error_message": None, "attempt": 1} | facts)
        for number, (name, facts) in enumerate(said.items())
    }  # fmt: skip
    await write(lab, list(rows.values()))
    return {name: row["id"] for name, row in rows.items()}


FOUND = (
    ("", "tagged tenant failed plain"),
    ("status:failed", "failed"),
    ("status:failed,succeeded job:digest", "failed"),
    ("-status:failed", "tagged tenant plain"),
    ("-job:digest", "tagged tenant plain"),
    ("dig", "failed"),
    ("group:mailing", "failed"),
    ("queue:mail", "tagged"),
    ("by:ann", "tenant"),
    ("-by:ann", "tagged failed plain"),
    ("org:acme", "tenant"),
    ("trigger:api", "tenant"),
    ('tag:"big deal"', "tagged"),
    ('-tag:"big deal"', "tenant failed plain"),
    ("started:<150m", "tagged"),
    ("started:>350m", "plain"),
    ("ended:<250m", "tagged tenant"),
    ("created:>2020-01-01 created:>350m", "plain"),
    ("duration:>1m", "tenant"),
    ("attempt:>1", "failed"),
    ("attempt:3", "failed"),
    ("error:timeout", "failed"),
    ("error:100%", "failed"),
    ("error:10_%", ""),
    ("""error:"it's late\"""", "failed"),
    ("payload.a.b:quotes", "tagged"),
    ("payload.n:5", "tagged"),
    ("payload.a.b:other", ""),
    ("fingerprint:f1", "failed"),
    ("status:running", ""),
    ("nothing-is-called-so", ""),
)


async def test_each_term_finds_its_runs_the_newest_first(lab: Lab) -> None:
    known = {run_id: name for name, run_id in (await history(lab)).items()}
    await _define(lab, "digest", group="mailing")
    for text, expected in FOUND:
        found = await look(lab, text)
        assert " ".join(known[run.id] for run in found.runs) == expected, text


@pytest.mark.parametrize("text", ["started:>20d", "ended:>20d", "created:>20d"])
async def test_what_is_long_ago_is_looked_for_where_it_stands_though_a_clock_was_ahead(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Its id was made by a node, whose clock may have been minutes ahead of that of the store."""
    now = await lab.scalar(sa.select(store_now()))
    begun = now - timedelta(days=20, seconds=5)
    for week in (begun, begun + timedelta(hours=2)):
        await lab.database.tx(partial(partitions.create_for, instant=week))
    said_to_be = begun + timedelta(minutes=4)
    ahead = ended_row(lab, begun, 1, id=uuid7(int(said_to_be.timestamp() * 1000), 1))
    await write(lab, [ahead, ended_row(lab, begun + timedelta(hours=1), 2)])
    with statements_of(lab.database, monkeypatch) as sent:
        found = await look(lab, text)
    assert [run.id for run in found.runs] == [ahead["id"]]
    [(walk, _values)] = [item for item in sent if "is_meant" in item[0]]
    assert re.search(r"WHERE \S*executions\.id < \S+ ORDER BY", walk), "it begins there and not today"


async def _define(lab: Lab, name: str, *, group: str) -> None:
    row = {
        "environment": lab.environment, "name": name, "display_name": name, "description": "", "job_group": group,
        "job_type": "", "queue": "default", "code": "{}", "code_hash": "", "created_at": _NOW,
        "updated_at": _NOW,
    }  # fmt: skip
    await lab.database.tx(lambda connection: connection.execute(sa.insert(definitions).values(row)))


async def test_live_and_ended_runs_are_one_list_and_pages_lead_there_and_back(lab: Lab) -> None:
    ids = await history(lab)
    queued = await lab.enqueue_one(job_name="digest")
    order = [queued, ids["tagged"], ids["tenant"], ids["failed"], ids["plain"]]
    first = await look(lab, "", size=2)
    assert ([run.id for run in first.runs], first.has_newer, first.has_older) == (order[:2], False, True)
    second = await look(lab, "", size=2, before=order[1])
    assert ([run.id for run in second.runs], second.has_newer, second.has_older) == (order[2:4], True, True)
    last = await look(lab, "", size=2, before=order[3])
    assert ([run.id for run in last.runs], last.has_older) == (order[4:], False)
    back = await look(lab, "", size=2, after=order[4])
    assert ([run.id for run in back.runs], back.has_newer, back.has_older) == (order[2:4], True, True)
    assert [run.id for run in (await look(lab, "status:queued job:digest")).runs] == [queued]


async def test_a_member_finds_and_counts_its_own_runs_alone(lab: Lab) -> None:
    ids = await history(lab)
    member = Scope(lab.environment, "acme", "ann")
    assert [run.id for run in (await look(lab, "", scope=member)).runs] == [ids["tenant"]]
    assert (await look(lab, "", scope=Scope(lab.environment, "acme", "bob"))).runs == []
    assert (await look(lab, "org:other", scope=member)).runs == []
    search = RunSearch(read_filter("status:failed"), _NOW, UTC)
    for scope, expected in (
        (member, {Status.SUCCEEDED: 1}),
        (Scope(lab.environment), {Status.SUCCEEDED: 3, Status.FAILED: 1}),
    ):
        counted = await lab.database.read(partial(run_search.counts, scope=scope, search=search))
        assert {status: count for status, count in counted.items() if count} == expected


INDEXED = (
    "", "status:failed", "job:rare", "job:rare status:failed", "-job:hourly status:failed", "fingerprint:error-1",
    "trigger:admin", "status:failed ended:<24h", "org:nobody",
)  # fmt: skip


async def test_no_filter_scans_the_history(
    lab: Lab, clock: StoreClock, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    now = await go_late_into_a_week(lab, clock)
    rows = [
        ended_row(
            lab,
            now - timedelta(seconds=20 * (20_000 - number)),
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
    for text in INDEXED:
        with statements_of(lab.database, monkeypatch) as sent:
            await look(lab, text)
        looks = [item for item in sent if "mainspring.executions." in item[0] or "mainspring_executions." in item[0]]
        looks = [item for item in looks if "LIMIT" in item[0]]  # the rows of a page are read by their ids
        assert looks
        for statement, values in looks:
            plan = await plan_of(lab, statement, values)
            assert not scans(plan), (text, statement, plan)


async def test_a_search_that_takes_too_long_is_stopped(lab: Lab) -> None:
    endless = {
        "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
        "postgresql": "select pg_sleep(60)",
    }[lab.database.dialect_name]

    def read(connection: sa.Connection) -> None:
        with time_limit(connection, 0.05, lab.world):
            connection.execute(sa.text(endless))

    with pytest.raises(SearchTooSlowError, match="longer than"):
        await lab.database.read(read)
    assert (await look(lab, "")).runs == []
