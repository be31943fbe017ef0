"""The hot path stays hot: a batch costs a fixed number of statements, and no plan depends on the backlog."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.util import await_only

from mainspring.domain.rate import Rate
from mainspring.store.coordination import dead_nodes
from mainspring.store.engine.sqlite_driver import SqliteDriver
from mainspring.store.queue import claims, enqueues, finishes
from mainspring.store.runs import run_logs
from mainspring.store.tables.urgency import POSTGRESQL_URGENCY, SQLITE_URGENCY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Mapping

    from mainspring.store.engine.database import Database
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab

Statement = tuple[str, Any]


@contextmanager
def statements_of(database: Database, monkeypatch: pytest.MonkeyPatch) -> Generator[list[Statement]]:
    """Collect what is sent to the database, with its values."""
    sent: list[Statement] = []

    def send(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        sent.append((statement, values))

    def execute(driver: SqliteDriver, statement: str, values: Mapping[str, object] | None = None) -> sqlite3.Cursor:
        sent.append((statement, values))
        return sent_by_driver(driver, statement, values)

    sent_by_driver = SqliteDriver.execute
    with monkeypatch.context() as patch:
        patch.setattr(SqliteDriver, "execute", execute)
        event.listen(sa.Engine, "before_cursor_execute", send)
        try:
            yield sent
        finally:
            event.remove(sa.Engine, "before_cursor_execute", send)


# ---- Statements -----------------------------------------------------------------------------------------------------


async def number_of_statements(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, work: Callable[[sa.Connection], object]
) -> int:
    with statements_of(lab.database, monkeypatch) as sent:
        await lab.database.tx(work)
    return len(sent)


async def costs(lab: Lab, monkeypatch: pytest.MonkeyPatch, size: int, **fields: Any) -> dict[str, int]:
    """Return how many statements each step of the hot path sends for a batch of `size`."""
    request = claims.ClaimRequest(lab.environment, lab.node_id, ["job"], [claims.QueueCursor("default")], 1000)
    new = [lab.new(**fields) for _ in range(size)]
    claimed: list[ClaimedExecution] = []
    sent: dict[str, int] = {}

    async def step(name: str, work: Callable[[sa.Connection], object]) -> None:
        sent[name] = await number_of_statements(lab, monkeypatch, work)

    await step("enqueue", lambda connection: enqueues.insert(connection, new))
    await step("claim", lambda connection: claimed.extend(claims.claim(connection, request, size)))
    assert len(claimed) == size
    lines = [run_logs.WrittenLine(item.id, item.fence, 1, lab.world.now(), "info", "text", None) for item in claimed]
    await step("log", lambda connection: run_logs.write(connection, lines))
    back = [lab.back(item) for item in claimed]
    await step("release", lambda connection: finishes.release(connection, lab.environment, back))
    again = await lab.claim(size, organization_limit=1000)
    assert len(again) == size
    ends = [lab.end(item) for item in again]
    await step("finish", lambda connection: finishes.finish(connection, lab.environment, ends))
    return sent


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"organization_id": "acme"},
        {"limit_key": "key", "limit_max": 1000},
        {"limit_key": "key", "rate": Rate.parse("1000000/s")},
        {"priority": 3, "user_id": "ada"},
    ],
    ids=["plain", "organization", "limit", "rate", "other"],
)
async def test_a_large_batch_costs_as_many_statements_as_a_small_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    await costs(lab, monkeypatch, 1, **fields)  # makes the rows of organizations and limits
    small = await costs(lab, monkeypatch, 10, **fields)
    assert await costs(lab, monkeypatch, 300, **fields) == small
    assert max(small.values()) <= 13


async def test_who_has_no_rate_pays_for_none(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await costs(lab, monkeypatch, 1, limit_key="key", limit_max=1000)  # makes the row of the limit
    with statements_of(lab.database, monkeypatch) as sent:
        await lab.enqueue(*(lab.new(limit_key="key", limit_max=1000) for _ in range(3)))
        await lab.succeed(*await lab.claim())
    assert [statement for statement, _ in sent if "rate_arrival" in statement] == []
    with statements_of(lab.database, monkeypatch) as sent:
        await lab.promote()
    assert len([statement for statement, _ in sent if "mainspring" in statement]) == 2


async def test_many_keys_with_rates_cost_postgresql_no_more_statements_than_one(
    postgresql: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, sent = lab_on(postgresql), list[int]()
    for keys in (1, 80):
        new = [lab.new(limit_key=f"k{n}", rate=Rate.parse("20/h")) for n in range(keys)]
        await lab.enqueue(*new)  # makes the rows of the keys
        with statements_of(postgresql, monkeypatch) as sent_now:
            await lab.enqueue(*(replace(item, id=lab.world.new_id()) for item in new))
        sent.append(len(sent_now))
    assert sent == [5, 5]


async def test_the_ends_of_parents_cost_the_same_however_many_wait(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    for children in (1, 200):
        parents = await lab.enqueue(lab.new(), lab.new())
        await lab.enqueue(*(lab.new(depends_on=tuple(parents), job_name="child") for _ in range(children)))
        ends = [lab.end(item) for item in await lab.claim()]
        with statements_of(lab.database, monkeypatch) as sent_now:
            await lab.finish(*ends)
        sent.append(len(sent_now))
        assert len(await lab.claim(500, names=["child"])) == children
    assert sent[0] == sent[1]


async def test_webhooks_cost_two_statements_a_batch_and_who_has_none_pays_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[tuple[int, int], list[Statement]] = {}
    for size, told in ((10, 0), (10, 10), (300, 1), (300, 300)):
        await lab.enqueue(*(lab.new(webhook_url="https://a.example" if n < told else None) for n in range(size)))
        ends = [lab.end(item) for item in await lab.claim(size)]
        assert len(ends) == size
        with statements_of(lab.database, monkeypatch) as sent_now:
            await lab.finish(*ends)
        sent[size, told] = sent_now
    without = len(sent[10, 0])
    assert [len(sent[batch]) for batch in sent] == [without, without + 2, without + 2, without + 2]
    assert [statement for statement, _ in sent[10, 0] if "notifications" in statement] == []


async def test_the_finish_on_sqlite_looks_in_its_batch_for_nothing_that_nobody_said(
    sqlite: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(sqlite)
    looks: list[int] = []
    cases: tuple[dict[str, Any], ...] = ({}, {"result": "1", "summary": "done"})
    for said in cases:
        await lab.enqueue(lab.new(), lab.new())
        plain, other = await lab.claim()
        with statements_of(sqlite, monkeypatch) as sent:
            await lab.finish(lab.end(plain), lab.end(other, **said))
        (copy,) = [statement for statement, _ in sent if "insert into mainspring.executions" in statement]
        looks.append(copy.count("json_extract"))
        assert ((await lab.get(plain.id)).result, (await lab.get(other.id)).result) == (None, 1 if said else None)
    # What all of them say alike, the fence of their claim too, is bound once; and an id alone needs no JSON around it.
    assert looks == [0, len(("id", "result", "summary"))]


async def test_many_organizations_cost_postgresql_no_more_statements_than_one(
    postgresql: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    sent: list[int] = []
    for organizations in (1, 80):
        await lab.enqueue(*(lab.new(organization_id=f"o{n}") for n in range(organizations)))
        lab.cursors.clear()
        with statements_of(postgresql, monkeypatch) as sent_now:
            assert len(await lab.claim(200)) == organizations
        sent.append(len(sent_now))
    assert sent[0] == sent[1]


# ---- Plans ----------------------------------------------------------------------------------------------------------


# Many live executions: waiting, ready, parked, running on fifty nodes, with and without organization.
FILL_POSTGRESQL = """
insert into mainspring.executions_live
    (id, environment, queue, job_name, trigger, created_at, updated_at, available_at, priority, limit_max, stage,
     organization_id, limit_key, node_id)
select gen_random_uuid(), 'test', 'default', 'job', 'api', now(), now(), now(), n % 3, 100, n % 4,
    case when n % 8 > 3 then 'o' || (n % 50) end, case when n % 4 = 2 then 'k' || (n % 20) end,
    case when n % 4 = 3 then cast('00000000-0000-7000-8000-0000000000' || (10 + n % 50) as uuid) end
from generate_series(1, 50000) n
"""
FILL_SQLITE = (
    FILL_POSTGRESQL.replace("mainspring.", "mainspring_")
    .replace("gen_random_uuid()", "hex(randomblob(16))")
    .replace("now()", "mainspring_now()")
    .replace("as uuid)", "as text)")
    .replace(
        "generate_series(1, 50000) n",
        "(with recursive s(n) as (select 1 union all select n + 1 from s limit 20000) select n from s)",
    )
)


async def execute(database: Database, statement: str) -> None:
    await database.tx(lambda connection: connection.exec_driver_sql(statement).close())


async def hot_statements(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """Return what a claim, a look for due ones, a finish, a release and a rescue send."""
    node = await lab.register_node()
    with statements_of(lab.database, monkeypatch) as sent:
        claimed = await lab.claim(100, node_id=node, organization_limit=1000)
        assert len(claimed) == 100
        assert {item.organization_id is None for item in claimed} == {True, False}
        await lab.promote(most=50)
        await lab.finish(*(lab.end(item) for item in claimed[:50]))
        await lab.release(claimed[50])
        await lab.database.tx(dead_nodes.rescue)
    return [(statement, values) for statement, values in sent if "executions_live" in statement]


async def looks_at_nodes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """Return what asks for the running executions of one node, and of those that are dead."""
    node = await lab.register_node()
    with statements_of(lab.database, monkeypatch) as sent:
        await lab.database.tx(lambda connection: claims.held(connection, node))
        await lab.database.tx(dead_nodes.rescue)
    looks = [(statement, values) for statement, values in sent if "executions_live" in statement]
    assert len(looks) == 2
    return looks


async def plans(database: Database, sent: Statement) -> tuple[str, str]:
    """Return a statement's plan for its values, and the one for any values that it gets after five runs."""
    statement, values = sent
    bound: Any = cast("list[Any]", values)[0] if isinstance(values, list) else values

    def work(connection: sa.Connection) -> tuple[str, str]:
        custom = connection.exec_driver_sql(f"explain {statement}", bound).scalars().all()
        driver: Any = connection.connection.driver_connection
        kinds = [f"{kind.schema}.{kind.name}" for kind in await_only(driver.prepare(statement)).get_parameters()]
        connection.exec_driver_sql(f"prepare guarded({', '.join(kinds)}) as {statement}")
        connection.exec_driver_sql("set local plan_cache_mode = force_generic_plan")
        nulls = ", ".join("null" for _ in kinds)
        generic = connection.exec_driver_sql(f"explain execute guarded({nulls})").scalars().all()
        connection.exec_driver_sql("deallocate guarded")
        return "\n".join(custom), "\n".join(generic)

    return await database.tx(work)


async def test_postgresql_reads_indexes_whatever_the_plan_and_however_many_wait(
    postgresql: Database, postgresql_owner: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    await execute(postgresql, FILL_POSTGRESQL)
    await execute(postgresql_owner, "analyze mainspring.executions_live")
    seen = ""
    for sent in await hot_statements(lab, monkeypatch):
        for plan in await plans(postgresql, sent):
            # Tables are read through their indexes, and no row is compared with all rows of another one.
            assert "Seq Scan on executions_live" not in plan, f"{sent[0]}\n{plan}"
            assert "Join Filter" not in plan, f"{sent[0]}\n{plan}"
            if POSTGRESQL_URGENCY in sent[0]:
                assert "Sort" not in plan, f"{sent[0]}\n{plan}"
            seen += plan
    for index in ("ready", "ready_organization", "running", "waiting", "pkey"):
        assert re.search(rf"Scan (using|on) executions_live_{index}\b", seen), index


async def test_postgresql_decides_rates_by_indexes_however_many_wait(
    postgresql: Database, postgresql_owner: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    await execute(postgresql, FILL_POSTGRESQL)
    await execute(postgresql_owner, "analyze mainspring.executions_live")
    with statements_of(postgresql, monkeypatch) as sent:
        await lab.enqueue(*(lab.new(limit_key=f"k{n}", rate=Rate.parse("1000/h")) for n in range(0, 20, 2)))
    decided = [item for item in sent if "limit_key = " in item[0]]
    assert len(decided) == 3
    for item in decided:
        for plan in await plans(postgresql, item):
            assert "Seq Scan on executions_live" not in plan, f"{item[0]}\n{plan}"


async def test_postgresql_finds_what_a_node_runs_without_a_look_at_what_others_run(
    postgresql: Database, postgresql_owner: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    await execute(postgresql, FILL_POSTGRESQL)
    await execute(postgresql_owner, "analyze mainspring.executions_live")
    for sent in await looks_at_nodes(lab, monkeypatch):
        for plan in await plans(postgresql, sent):
            assert re.findall(r"executions_live_\w+", plan) == ["executions_live_node"], f"{sent[0]}\n{plan}"


async def test_the_finish_of_a_batch_compares_no_row_with_all_others(
    postgresql: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    await lab.enqueue(*(lab.new() for _ in range(100)))
    claimed = await lab.claim()
    with statements_of(postgresql, monkeypatch) as sent:
        await lab.finish(*(lab.end(item, result=str(number)) for number, item in enumerate(claimed)))
    (finish,) = [item for item in sent if "delete from" in item[0]]
    for plan in await plans(postgresql, finish):
        moved = plan[plan.index("CTE moved") : plan.index("InitPlan")]
        assert "Hash Join" in moved
        assert "Nested Loop" not in moved


async def test_successes_that_no_job_follows_end_in_one_statement_on_postgresql(
    postgresql: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(postgresql)
    await lab.enqueue(*(lab.new() for _ in range(3)))
    ends = [lab.end(item) for item in await lab.claim()]
    with statements_of(postgresql, monkeypatch) as sent:
        await postgresql.tx(lambda connection: finishes.finish(connection, lab.environment, ends, lab.world.new_id))
    assert len([statement for statement, _ in sent if "mainspring" in statement]) == 1


async def test_sqlite_searches_indexes_however_many_wait(
    sqlite: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(sqlite)
    await execute(sqlite, FILL_SQLITE)
    seen = ""
    for statement, values in await hot_statements(lab, monkeypatch):
        plan = await sqlite_plan(sqlite, statement, values)
        assert re.findall(r"SCAN .*executions_live.*", plan) == [], f"{statement}\n{plan}"
        if SQLITE_URGENCY in statement:
            assert "TEMP B-TREE" not in plan, f"{statement}\n{plan}"
        seen += plan
    for index in ("ready", "ready_organization", "running", "waiting"):
        assert f"INDEX mainspring_executions_live_{index} " in seen, index


async def test_sqlite_finds_what_a_node_runs_without_a_look_at_what_others_run(
    sqlite: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(sqlite, FILL_SQLITE)
    for statement, values in await looks_at_nodes(lab_on(sqlite), monkeypatch):
        plan = await sqlite_plan(sqlite, statement, values)
        assert re.findall(r"executions_live_\w+", plan) == ["executions_live_node"], f"{statement}\n{plan}"


async def sqlite_plan(database: Database, statement: str, values: Any) -> str:
    def work(connection: sa.Connection) -> str:
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        rows = driver.execute(f"explain query plan {statement}".replace("mainspring.", "mainspring_"), values or {})
        return "\n".join(row[3] for row in rows)

    return await database.tx(work)
