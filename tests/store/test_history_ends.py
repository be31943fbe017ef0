"""Which runs stand at which ends of indexes: any combination of what is asked, whoever asks, without a scan."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.execution import FINAL, Status, Trigger
from mainspring.store.engine.dialect import store_now
from mainspring.store.runs import history_ends, history_walks, index_ends
from mainspring.store.runs.history_ends import HistoryEnds, WantedHistory
from mainspring.store.runs.index_ends import none_ended_before
from mainspring.store.tables import executions
from tests.store.test_cron_run_pages import analyze_history, ended_row, plan_of, write
from tests.store.test_hot_path_guards import statements_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from tests.store.conftest import Lab

NAMES = ("hourly", "nightly", "rare")
TRIGGERS = (Trigger.CRON, Trigger.API, Trigger.ADMIN, Trigger.SYSTEM)
STATUSES = (Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED)
ASKED: dict[str, tuple[Any, ...]] = {
    "names": (None, ["rare"], ["hourly", "rare"], []),
    "statuses": (FINAL, frozenset({Status.FAILED}), frozenset({Status.FAILED, Status.SKIPPED})),
    "triggers": (None, frozenset({Trigger.API}), frozenset({Trigger.ADMIN, Trigger.STARTUP})),
    "who": (
        {},
        {"organizations": ["acme"]},
        {"organizations": ["acme", "new"], "user_id": "ann"},
        {"of_tenants_alone": True},
    ),
}


async def some_history(lab: Lab, count: int) -> list[dict[str, Any]]:
    now = await lab.scalar(sa.select(store_now()))
    rows = [
        ended_row(
            lab,
            now - timedelta(seconds=count - number),
            number,
            job_name=NAMES[number * 7 % 11 % 3],
            trigger=TRIGGERS[number * 5 % 13 % 4].value,
            status=STATUSES[number * 3 % 7 % 5].value,
            organization_id=("acme", "other", None)[number * 11 % 17 % 3],
            user_id=("ann", "bob")[number % 2],
        )
        for number in range(count)
    ]
    await write(lab, rows)
    return rows


def is_meant(row: dict[str, Any], wanted: WantedHistory) -> bool:
    """Say in plain words what the indexes have to find."""
    return (
        row["status"] in {status.value for status in wanted.statuses}
        and (wanted.names is None or row["job_name"] in wanted.names)
        and (wanted.triggers is None or row["trigger"] in {trigger.value for trigger in wanted.triggers})
        and (wanted.organizations is None or row["organization_id"] in wanted.organizations)
        and (wanted.user_id is None or row["user_id"] == wanted.user_id)
        and not (wanted.of_tenants_alone and row["organization_id"] is None)
    )


def questions(environment: str) -> list[WantedHistory]:
    combined = product(*ASKED.values())
    return [
        WantedHistory(environment, names=names, statuses=statuses, triggers=triggers, **who)
        for names, statuses, triggers, who in combined
    ]


@pytest.mark.parametrize("many", [64, 1], ids=["few ends", "many ends"])
async def test_every_combination_finds_and_counts_what_is_meant(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(history_ends, "_MANY_ENDS", many)
    rows = await some_history(lab, 90)

    def look(connection: sa.Connection) -> list[tuple[WantedHistory, Sequence[UUID], Sequence[UUID], int]]:
        found = [(wanted, HistoryEnds(connection, wanted)) for wanted in questions(lab.environment)]
        return [
            (wanted, ends.first_ids(most=5), ends.first_ids(most=5, oldest_first=True), ends.count(most=7))
            for wanted, ends in found
        ]

    for wanted, newest, oldest, counted in await lab.database.read(look):
        expected = [row["id"] for row in rows if is_meant(row, wanted)]
        assert newest == expected[::-1][:5], wanted
        assert oldest == expected[:5], wanted
        assert counted == min(7, len(expected)), wanted


async def test_none_but_the_indexes_that_are_made_for_it_are_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(HistoryEnds, "_may_be_met", False)  # what is met on a walk needs no index
    await some_history(lab, 3_000)
    await analyze_history(lab, request)
    for wanted in (
        WantedHistory(lab.environment),
        WantedHistory(lab.environment, names=["rare"]),
        WantedHistory(lab.environment, statuses=frozenset({Status.FAILED}), triggers=frozenset({Trigger.API})),
        WantedHistory(lab.environment, organizations=["acme"]),
        WantedHistory(lab.environment, organizations=["acme"], user_id="ann"),
        WantedHistory(lab.environment, of_tenants_alone=True),
    ):
        with statements_of(lab.database, monkeypatch) as sent:
            await lab.database.read(lambda connection, wanted=wanted: HistoryEnds(connection, wanted).first_ids(most=9))
        looks = [item for item in sent if "NULLS LAST" in item[0] or "json_group_array" in item[0]]
        assert looks
        for statement, values in looks:
            plan = await plan_of(lab, statement, values)
            assert "_pkey" not in plan, (wanted, plan)
            assert "SCAN mainspring_executions" not in plan, (wanted, plan)


async def test_what_a_look_has_told_is_not_looked_for_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_ends, "_MANY_ENDS", 1)
    rows = await some_history(lab, 90)
    begun = rows[30]
    of_all = WantedHistory(lab.environment, names=NAMES)
    rare = replace(of_all, statuses=frozenset({Status.FAILED}))
    late = replace(
        of_all,
        conditions=[executions.c.created_at >= begun["created_at"]],
        certain_ids=[executions.c.id >= begun["id"]],
    )

    def listed(connection: sa.Connection) -> tuple[int, int]:
        ends = HistoryEnds(connection, rare)
        return len(ends.first_ids(most=80)), ends.count(most=80)

    expected = sum(is_meant(row, rare) for row in rows)
    with statements_of(lab.database, monkeypatch) as sent:
        assert await lab.database.read(listed) == (expected, expected)
    assert len(looks_of(sent)) == 2, "the rare ends, and which of these runs are of the jobs; nothing is counted"
    for wanted in (of_all, late):
        with statements_of(lab.database, monkeypatch) as sent:
            counted = await lab.database.read(
                lambda connection, wanted=wanted: HistoryEnds(connection, wanted).count(most=3)
            )
        assert counted == 3
        [(statement, _values)] = looks_of(sent)
        assert "created_at" not in statement, "the index alone counts"


def looks_of(sent: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [item for item in sent if "mainspring" in item[0] and "executions" in item[0]]


async def test_postgresql_is_kept_from_sorting_what_an_index_holds_in_order(lab: Lab) -> None:
    """Only a history of millions shows it: an end that is sorted is read as a whole, above all where a week is new."""
    is_postgresql = lab.database.dialect_name == "postgresql"
    asked = sa.text("select current_setting(name) from unnest(cast(:names as text[])) name")
    names = ["enable_sort", "enable_seqscan", "enable_bitmapscan", "plan_cache_mode"]

    def settings(connection: sa.Connection) -> Sequence[str]:
        HistoryEnds(connection, WantedHistory(lab.environment))
        return connection.execute(asked, {"names": names}).scalars().all() if is_postgresql else []

    expected = ["off", "off", "off", "force_generic_plan"] if is_postgresql else []
    assert await lab.database.read(settings) == expected


async def test_what_is_frequent_is_met_on_a_walk_that_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await some_history(lab, 3_000)
    wanted = WantedHistory(lab.environment, triggers=frozenset({Trigger.CRON, Trigger.API}))
    with statements_of(lab.database, monkeypatch) as sent:
        found = await lab.database.read(lambda connection: HistoryEnds(connection, wanted).first_ids(most=9))
    assert found == [row["id"] for row in reversed(rows) if row["trigger"] in {"cron", "api"}][:9]
    [(statement, values)] = [item for item in sent if "is_meant" in item[0]]
    assert "LIMIT 4096" in statement
    plan = await plan_of(lab, statement, values)
    assert "Seq Scan" not in plan
    assert "Sort  (" not in plan, "it ends as soon as it has met enough"


INDEXES_OF_A_PLAIN_SUCCESS = {
    "executions_pkey": "by its id; PostgreSQL has to have one, and what is frequent is met on a walk through it",
    "executions_job_status": "lists of a job, whatever the status and the trigger, and counts of them",
    "executions_job_started": "the latest runs of a job by when they began: health, strips, its last run",
    "executions_completed": "spans of what ended; on PostgreSQL a few bytes for each hundred pages",
}
"""What each run pays for that succeeds, without an organization: a further one costs each of them some 3 µs."""


async def test_a_plain_success_is_written_into_no_more_indexes_than_have_a_reason(lab: Lab) -> None:
    await lab.enqueue_one()
    [claimed] = await lab.claim()
    await lab.finish(lab.end(claimed))
    written = {"executions_pkey"}
    for index in executions.indexes:
        where = index.dialect_options["postgresql"]["where"]
        holding = sa.select(sa.func.count()).select_from(executions).where(sa.true() if where is None else where)
        if await lab.scalar(holding):
            written.add(str(index.name))
    assert written == set(INDEXES_OF_A_PLAIN_SUCCESS)


async def test_few_runs_of_many_jobs_are_read_at_once_and_many_in_the_order_of_each_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_ends, "_MANY_ENDS", 1)
    monkeypatch.setattr(history_walks, "_LEAST_PASSED", 8)
    monkeypatch.setattr(history_walks, "_PASSED", 1)
    rows = await some_history(lab, 90)
    wanted = WantedHistory(lab.environment, names=["hourly", "rare"], triggers=frozenset({Trigger.API}))
    expected = [row["id"] for row in rows if is_meant(row, wanted)]
    for few, at_once in ((len(expected), True), (len(expected) - 1, False)):
        monkeypatch.setattr(history_ends, "_FEW", few)

        def look(connection: sa.Connection) -> tuple[list[UUID], int]:
            ends = HistoryEnds(connection, wanted)
            return ends.first_ids(most=len(expected) - 1, oldest_first=True), ends.count(most=99)

        with statements_of(lab.database, monkeypatch) as sent:
            assert await lab.database.read(look) == (expected[:-1], len(expected))
        laterally = [item[0] for item in looks_of(sent) if "LATERAL" in item[0] or "json_group_array" in item[0]]
        in_order = [statement for statement in laterally if "ORDER BY" in statement]
        assert len(laterally) == 1 + len(in_order)
        assert bool(in_order) == (not at_once), "what is read at once is not read end by end"
        assert not any("count(" in statement for statement, _values in sent), "a list that came to the end is a count"


async def test_rare_runs_of_many_jobs_are_counted_in_one_scan_of_the_index_by_job(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(history_ends, "_MANY_ENDS", 1)
    rows = await some_history(lab, 3_000)
    await analyze_history(lab, request)
    wanted = WantedHistory(lab.environment, names=["hourly", "rare"], statuses=frozenset({Status.FAILED}))
    with statements_of(lab.database, monkeypatch) as sent:
        counted = await lab.database.read(lambda connection: HistoryEnds(connection, wanted).count(most=9_999))
    assert counted == sum(is_meant(row, wanted) for row in rows)
    [(statement, values)] = [item for item in looks_of(sent) if "count(" in item[0]]
    plan = await plan_of(lab, statement, values, in_order=True)
    steps = plan.split("->") if "->" in plan else plan.splitlines()
    looks = [step for step in steps if " executions_2" in step or "mainspring_executions" in step]
    looks = [step for step in looks if " rows=1 " not in step]  # a week without rows is read by any index
    assert looks
    assert all("_job_status" in step or "_job_name_status_trigger_id_idx" in step for step in looks), plan
    assert not any("Filter" in step for step in looks), plan
    assert "Bitmap" not in plan
    assert "order by" not in statement.lower(), "no scan for each job"


@pytest.mark.parametrize(("names", "most", "looked_at"), [(NAMES, 5, [10]), (["rare"], 20, [40, 24])])
async def test_no_more_rare_runs_are_looked_up_than_are_likely_to_be_enough(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, names: Sequence[str], most: int, looked_at: list[int]
) -> None:
    monkeypatch.setattr(history_ends, "_MANY_ENDS", 1)
    monkeypatch.setattr(history_ends, "_PASSED", 64)
    rows = await some_history(lab, 600)
    wanted = WantedHistory(lab.environment, names=names, statuses=frozenset({Status.FAILED}))
    sizes: list[int] = []

    def listed(connection: sa.Connection) -> list[UUID]:
        return HistoryEnds(connection, wanted).first_ids(most=most)

    def note(ids: Sequence[UUID]) -> datetime:
        sizes.append(len(ids))
        return none_ended_before(ids)

    monkeypatch.setattr(index_ends, "none_ended_before", note)
    assert await lab.database.read(listed) == [row["id"] for row in reversed(rows) if is_meant(row, wanted)][:most]
    assert sizes == looked_at
