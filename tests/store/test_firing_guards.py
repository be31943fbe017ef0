"""Looking for due schedules costs the same among twenty thousand as among two."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron
from mainspring.jobs.registry import JobRegistry
from mainspring.store.jobs import registration
from mainspring.store.scheduling import firing
from mainspring.store.tables import definitions as definitions_table
from mainspring.store.tables import schedules as schedules_table
from tests.store.test_hot_path_guards import execute, plans, sqlite_plan, statements_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock
    from tests.store.test_hot_path_guards import Statement

COPIES = 20_000
FILL = """
insert into mainspring.{table} ({columns})
select {values} from mainspring.{table} c cross join {series} where c.name = 'minutely'
"""
SERIES = {
    "postgresql": f"generate_series(1, {COPIES}) n",
    "sqlite": f"(with recursive s(n) as (select 1 union all select n + 1 from s limit {COPIES}) select n from s)",  # noqa: S608 - a constant
}


async def fill(lab: Lab) -> None:
    """Make many schedules that are due next year, and one that is due in a minute."""
    registry = JobRegistry()
    registry.add(JobDefinition("minutely", schedule=Cron("* * * * *")), lambda: None)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))
    dialect = lab.database.dialect_name
    far = "c.due_at + interval '1 year'" if dialect == "postgresql" else "c.due_at + 31536000000000"
    for table in (definitions_table, schedules_table):
        columns = [column.name for column in table.columns]
        values = ["'copy-' || n" if name == "name" else far if name == "due_at" else f"c.{name}" for name in columns]
        statement = FILL.format(
            table=table.name, columns=", ".join(columns), values=", ".join(values), series=SERIES[dialect]
        )
        if dialect == "sqlite":
            statement = statement.replace("mainspring.", "mainspring_")
        await execute(lab.database, statement)


async def statements_of_a_turn(lab: Lab, clock: StoreClock, monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    clock.advance(61)
    with statements_of(lab.database, monkeypatch) as sent:
        fired = await lab.database.tx(lambda connection: firing.fire_due(connection, lab.firing, {}))
    assert fired.executions >= 1
    return [item for item in sent if "schedules" in item[0]]


async def test_postgresql_finds_due_schedules_by_their_index(
    postgresql: Database,
    postgresql_owner: Database,
    lab_on: Callable[[Database], Lab],
    clock: StoreClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = lab_on(postgresql)
    await fill(lab)
    await execute(postgresql_owner, "analyze mainspring.schedules")
    await execute(postgresql_owner, "analyze mainspring.definitions")
    looks = await statements_of_a_turn(lab, clock, monkeypatch)
    assert len(looks) == 3
    for sent in looks:
        for plan in await plans(postgresql, sent):
            assert "Seq Scan on schedules" not in plan, f"{sent[0]}\n{plan}"
            assert "Seq Scan on definitions" not in plan, f"{sent[0]}\n{plan}"
            assert re.search(r"schedules_(due|pkey)", plan), plan


async def test_sqlite_finds_due_schedules_by_their_index(
    sqlite: Database, lab_on: Callable[[Database], Lab], clock: StoreClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_on(sqlite)
    await fill(lab)
    for statement, values in await statements_of_a_turn(lab, clock, monkeypatch):
        plan = await sqlite_plan(sqlite, statement, values)
        assert re.findall(r"SCAN .*mainspring_(?:schedules|definitions).*", plan) == [], f"{statement}\n{plan}"
        assert "(environment=?)" not in plan, f"all of an environment are read\n{statement}\n{plan}"
        assert "TEMP B-TREE" not in plan, f"{statement}\n{plan}"
