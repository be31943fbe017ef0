"""The newest runs are found at the end of an index, whatever lies before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Scope
from mainspring.store.runs import executions, latest_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab


async def found(lab: Lab, scope: Scope, most: int = 3) -> list[str]:
    runs = await lab.database.read(lambda connection: latest_runs.find(connection, scope, most=most))
    return [str(run.id) for run in runs]


async def test_live_and_ended_runs_are_one_list_the_newest_first(lab: Lab) -> None:
    ids: list[str] = []
    for number in range(5):
        fields = {"organization_id": "acme", "user_id": "ada"} if number == 1 else {}
        ids.append(str(await lab.enqueue_one(**fields)))
        if number % 2:
            await lab.succeed(*await lab.claim())
    newest = sorted(ids, reverse=True)
    assert await found(lab, Scope("test")) == newest[:3]
    assert await found(lab, Scope("test", "acme")) == [ids[1]]
    assert await found(lab, Scope("test", "acme", "bob")) == []
    assert await found(lab, Scope("elsewhere")) == []


async def test_sqlite_sorts_nothing_to_find_them(
    sqlite: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.store.test_hot_path_guards import statements_of

    lab = lab_on(sqlite)
    with statements_of(sqlite, monkeypatch) as sent:
        await found(lab, Scope("test"))
    statement, values = next((text, given) for text, given in sent if "UNION ALL" in text)
    plan = await sqlite.read(
        lambda connection: connection.exec_driver_sql(f"explain query plan {statement}", values).all()
    )
    details = [row[3] for row in plan]
    assert sum("sqlite_autoindex" in detail for detail in details) == 2, details


async def test_sqlite_finds_one_by_its_id_and_not_by_its_environment(
    sqlite: Database, lab_on: Callable[[Database], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.store.test_hot_path_guards import statements_of

    lab = lab_on(sqlite)
    unknown = lab.world.new_id()
    with statements_of(sqlite, monkeypatch) as sent:
        await sqlite.read(lambda connection: executions.get(connection, Scope("test"), unknown))
        await sqlite.read(lambda connection: executions.get_each(connection, Scope("test"), [unknown]))
    for statement, values in [(text, given) for text, given in sent if "SELECT" in text]:
        explained = f"explain query plan {statement}"
        plan = await sqlite.read(lambda connection: connection.exec_driver_sql(explained, values).all())  # noqa: B023
        assert any("sqlite_autoindex" in row[3] and "id=?" in row[3] for row in plan), (statement, plan)
