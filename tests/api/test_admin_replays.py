"""`/admin/replays` and `/admin/breakers`: what people start, hold back and let go, audited with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring import CircuitBreaker
from mainspring.domain.access import Role
from mainspring.domain.execution import Status, Trigger
from mainspring.store.queue import enqueues
from mainspring.store.queue.enqueues import NewExecution
from tests.api.worker_by_hand import WorkerByHand

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door

REPLAYS, BREAKERS = "/admin/replays", "/admin/breakers"


@pytest.fixture
async def olga(door: Door) -> httpx2.AsyncClient:
    """An operator of the platform, whose job `pay` has a breaker."""

    @door.app.job("pay", breaker=CircuitBreaker())
    async def _pay() -> None: ...

    await door.register_jobs()
    return await door.client(door.token("olga", Role.OPERATOR, None))


async def enqueue(door: Door) -> str:
    new = NewExecution(
        id=door.app.world.new_id(), environment="dev", queue="default", job_name="pay", trigger=Trigger.API,
        limit_key="pay",
    )  # fmt: skip
    (kept,) = await door.services.database.tx(lambda connection: enqueues.insert(connection, [new]))
    return str(kept)


async def fail(door: Door) -> None:
    worker = WorkerByHand(door)
    await worker.end(
        await worker.start(await enqueue(door)), Status.FAILED, error_fingerprint="f00d", error_message="no such table"
    )


async def test_a_replay_is_started_shown_and_cancelled(door: Door, olga: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await fail(door)
    asked = {"jobName": "pay", "fingerprint": "f00d", "canary": 2, "perMinute": 30, "stopAfter": 1}
    begun = await olga.post(REPLAYS, json=asked | {"reason": "fixed in v2"})
    replay: dict[str, Any] = begun.json()
    assert (begun.status_code, begun.headers["Location"]) == (201, f"{REPLAYS}/{replay['id']}")
    assert {name: replay[name] for name in ("status", "requested", "started", "createdBy", "reason", *asked)} == {
        "status": "canary", "requested": 3, "started": 0, "createdBy": "olga", "reason": "fixed in v2", **asked,
    }  # fmt: skip
    assert (await olga.get(f"{REPLAYS}/{replay['id']}")).json() == replay
    assert (await olga.get(REPLAYS)).json()["replays"] == [replay]
    again = await olga.post(REPLAYS, json=asked)
    assert (again.status_code, again.json()["code"]) == (409, "NOTHING_TO_REPLAY")
    cancelled = await olga.post(f"{REPLAYS}/{replay['id']}/cancel", json={"reason": "wrong job"})
    assert (cancelled.json()["status"], cancelled.json()["endedBy"]) == ("cancelled", "olga")
    twice = await olga.post(f"{REPLAYS}/{replay['id']}/cancel")
    assert (twice.status_code, twice.json()["code"]) == (409, "REPLAY_ENDED")
    trail = [(entry.action, entry.actor, entry.reason) for entry in await door.audit(replay["id"])]
    assert trail == [("replay.cancel", "olga", "wrong job"), ("replay.start", "olga", "fixed in v2")]
    assert (await olga.post(REPLAYS, json=asked)).status_code == 201, "what was not started may be replayed later"


@pytest.mark.parametrize("wrong", [{"canary": 0}, {"perMinute": 0}, {"stopAfter": 0}, {"speed": 1}, {"failedFrom": 1}])
async def test_a_plan_that_cannot_be_is_refused(olga: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    answer = await olga.post(REPLAYS, json={"jobName": "pay", "fingerprint": "f00d", **wrong})
    assert answer.status_code == 422


async def test_a_job_that_code_does_not_declare_is_not_replayed(olga: httpx2.AsyncClient) -> None:
    answer = await olga.post(REPLAYS, json={"jobName": "gone", "fingerprint": "f00d"})
    assert (answer.status_code, answer.json()["code"]) == (404, "JOB_NOT_FOUND")


async def test_a_breaker_is_held_open_and_closed_by_hand(door: Door, olga: httpx2.AsyncClient) -> None:
    (closed,) = (await olga.get(BREAKERS)).json()["breakers"]
    assert (closed["jobName"], closed["state"], closed["heldBy"]) == ("pay", "closed", None)
    held = (await olga.put(f"{BREAKERS}/pay", json={"state": "open", "reason": "the bank is down"})).json()
    assert (held["state"], held["heldBy"], held["heldReason"]) == ("open", "olga", "the bank is down")
    execution = await enqueue(door)
    worker = WorkerByHand(door)
    with pytest.raises(AssertionError):
        await worker.start(execution)
    text = (await olga.get("/metrics")).text
    assert 'mainspring_job_breaker_open{job="pay"} 1' in text
    let_go = (await olga.put(f"{BREAKERS}/pay", json={"state": "closed", "reason": "it is back"})).json()
    assert (let_go["state"], let_go["heldBy"]) == ("closed", None)
    assert await worker.start(execution)
    trail = [(entry.action, entry.reason) for entry in await door.audit("pay")]
    assert trail == [("breaker.close", "it is back"), ("breaker.hold_open", "the bank is down")]


async def test_a_job_without_a_breaker_says_how_to_get_one(olga: httpx2.AsyncClient) -> None:
    answer = await olga.put(f"{BREAKERS}/nightly", json={"state": "open"})
    assert (answer.status_code, answer.json()["code"]) == (409, "NO_BREAKER")
    assert "CircuitBreaker" in answer.json()["detail"]
