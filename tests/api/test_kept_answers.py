"""Answers that are kept on Valkey: never older than the store, and never missed when it is gone."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.domain.access import Role
from mainspring.redis_backend import answer_cache
from tests.api.test_admin_cron_jobs import PATH, ended, roll, write
from tests.api.worker_by_hand import WorkerByHand
from tests.store.test_hot_path_guards import statements_of

if TYPE_CHECKING:
    import httpx2

    from mainspring import Mainspring
    from tests.api.conftest import Door
    from tests.valkey import Valkey


@pytest.fixture
def app(app: Mainspring, valkey: Valkey) -> Mainspring:
    """An application that has a Valkey."""
    app.settings.redis_url = valkey.url
    return app


@pytest.fixture
async def admin(door: Door) -> httpx2.AsyncClient:
    await door.register_jobs()
    return await door.client(door.token("root", Role.ADMIN, None))


async def ask(client: httpx2.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(f"{PATH}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended_runs(door: Door, *numbers: int) -> None:
    """Let runs end a minute ago, and add them up."""
    at = door.app.world.now() - timedelta(minutes=1)
    await write(door, [ended(at, number) for number in numbers])
    await roll(door)


async def status_of(admin: httpx2.AsyncClient, name: str) -> dict[str, Any]:
    [job] = [job for job in (await ask(admin, "status"))["jobs"] if job["jobName"] == name]
    return job


@pytest.mark.parametrize("path", ["stats", "reports/performance", "reports/trends"])
async def test_a_report_is_computed_once_for_as_long_as_nothing_is_added_up(
    door: Door, admin: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    await ended_runs(door, 1)
    first = await ask(admin, path)
    with statements_of(door.services.database, monkeypatch) as sent:
        again = await ask(admin, path)
    assert {**again, "from": "", "to": ""} == {**first, "from": "", "to": ""}
    assert not [statement for statement, _values in sent if " mainspring_rollups" in statement]
    assert (await ask(admin, path, jobGroup="none")) != again, "another question has another answer"


async def test_what_is_added_up_is_in_the_next_answer(door: Door, admin: httpx2.AsyncClient) -> None:
    await ended_runs(door, 1)
    assert (await ask(admin, "stats"))["totals"]["total"] == 1
    await ended_runs(door, 2, 3)
    assert (await ask(admin, "stats"))["totals"]["total"] == 3


async def test_how_a_job_is_doing_is_never_told_as_it_was(door: Door, admin: httpx2.AsyncClient) -> None:
    worker = WorkerByHand(door)
    assert not (await status_of(admin, "nightly"))["paused"]
    await admin.post(f"{PATH}/nightly/pause", json={"reason": "party"})
    assert (await status_of(admin, "nightly"))["paused"]
    await admin.post(f"{PATH}/nightly/resume")
    assert not (await status_of(admin, "nightly"))["paused"]
    run_id = (await admin.post(f"{PATH}/nightly/trigger")).json()["executionId"]
    assert not (await status_of(admin, "nightly"))["running"]
    claimed = await worker.start(run_id)
    assert (await status_of(admin, "nightly"))["running"]
    await worker.end(claimed)
    done = await status_of(admin, "nightly")
    assert (done["running"], done["lastRun"]["status"]) == (False, "completed")


async def test_a_valkey_that_is_killed_costs_speed_alone(
    door: Door,
    admin: httpx2.AsyncClient,
    valkey: Valkey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(answer_cache, "REST_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    await ended_runs(door, 1)
    assert (await ask(admin, "stats"))["totals"]["total"] == 1
    valkey.kill()
    await ended_runs(door, 2)
    for _ in range(3):
        assert (await ask(admin, "stats"))["totals"]["total"] == 2
        assert await status_of(admin, "nightly")
    valkey.start()
    assert (await ask(admin, "stats"))["totals"]["total"] == 2
    assert valkey.client.keys("mainspring:dev:answer:*"), "it is used again"
    said = [record.message for record in caplog.records if record.name == answer_cache.__name__]
    assert len(said) == 2, "its end is told once, and its return"


async def test_a_valkey_that_hangs_is_waited_for_once(
    door: Door, admin: httpx2.AsyncClient, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "_TIMEOUT_SECONDS", 0.05)
    await ended_runs(door, 1)
    valkey.freeze()
    began = door.app.world.monotonic()
    for _ in range(20):
        assert (await ask(admin, "stats"))["totals"]["total"] == 1
    valkey.thaw()
    assert not valkey.client.keys("mainspring:dev:answer:*"), "nobody asked it again"
    assert door.app.world.monotonic() - began < answer_cache.REST_SECONDS
