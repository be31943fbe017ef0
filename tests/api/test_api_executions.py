"""Callbacks of services: the token of an attempt opens them, for that execution and fence, and nothing else does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import pytest

from mainspring.domain.access import Role, Scope
from mainspring.domain.execution import Outcome
from mainspring.security.callback_tokens import callback_token
from mainspring.security.secret_key import SecretKey
from mainspring.store.queue import finishes, service_attempts
from mainspring.store.queue.service_attempts import HandOver
from mainspring.store.runs import executions
from tests.api.conftest import SECRET_KEY
from tests.api.remote_job import NAME, register_remote_job
from tests.api.worker_by_hand import WorkerByHand

if TYPE_CHECKING:
    import httpx2

    from mainspring.domain.execution import Execution
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.api.conftest import Door


@dataclass(slots=True)
class Attempts:
    """Attempts that a service has accepted, and what it tells of them."""

    door: Door
    stranger: httpx2.AsyncClient

    async def accept(self) -> ClaimedExecution:
        """Make one."""
        job_id = (await self.door.app.enqueue("greet", organization_id="acme")).id
        claimed = await WorkerByHand(self.door).start(str(job_id))
        news = HandOver(claimed.id, claimed.fence, 60.0, 300.0)
        await self.door.services.database.tx(lambda connection: service_attempts.hand_over(connection, [news]))
        return claimed

    async def tell(
        self, claimed: ClaimedExecution, word: str, body: Any = None, *, token: str | None = None
    ) -> httpx2.Response:
        """Send a callback."""
        sent = {"Authorization": f"Bearer {token_of(claimed) if token is None else token}"}
        return await self.stranger.post(f"/api/executions/{claimed.id}/{word}", json=body or {}, headers=sent)

    async def execution(self, claimed: ClaimedExecution) -> Execution:
        """Return the execution as it is."""
        found = await self.door.services.database.read(
            lambda connection: executions.get(connection, Scope("dev"), claimed.id)
        )
        assert found is not None
        return found


def token_of(claimed: ClaimedExecution, key: str = SECRET_KEY) -> str:
    return callback_token(SecretKey(key.encode()), claimed.id, claimed.fence)


@pytest.fixture
async def attempts(door: Door) -> Attempts:
    """A service that has accepted work."""
    return Attempts(door, await door.client())


async def test_a_service_tells_how_it_goes_and_how_it_ended(
    attempts: Attempts, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed = await attempts.accept()
    said = {"progress": 40, "currentStep": 2, "totalSteps": 5, "message": "sending", "itemsProcessed": 7}
    for word, body in (("heartbeat", {}), ("progress", said), ("progress", {"itemsFailed": 1})):
        answer = await attempts.tell(claimed, word, body)
        assert (answer.status_code, answer.json()) == (200, {"cancelRequested": False})
    progress = (await attempts.execution(claimed)).progress
    assert (progress.percent, progress.message, progress.items_processed, progress.items_failed) == (
        40, "sending", 7, 1,
    )  # fmt: skip
    ended = {"success": True, "itemsProcessed": 9, "itemsSucceeded": 8, "itemsFailed": 1, "metadata": {"list": "a"}}
    assert (await attempts.tell(claimed, "complete", ended)).json() == {"cancelRequested": False}
    execution = await attempts.execution(claimed)
    assert (execution.status, execution.progress.items_succeeded) == ("succeeded", 8)
    assert execution.result["metadata"] == {"list": "a"}
    assert attempts.door.app.metrics.jobs["greet"].outcomes == {Outcome.SUCCEEDED: 1}
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines if line.get("execution") == str(claimed.id)] == ["Job succeeded"]


async def test_the_end_may_be_told_again_and_changes_nothing(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    await attempts.tell(claimed, "complete", {"success": True, "itemsProcessed": 1})
    again = await attempts.tell(claimed, "complete", {"success": False, "error": "another story"})
    assert (again.status_code, again.json()) == (200, {"cancelRequested": False})
    execution = await attempts.execution(claimed)
    assert (execution.status, execution.result["itemsProcessed"]) == ("succeeded", 1)
    late = await attempts.tell(claimed, "heartbeat")
    assert (late.status_code, late.json()["code"]) == (409, "LEASE_LOST")


async def test_a_failure_carries_the_words_of_the_service(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    error = {"code": "SMTP_DOWN", "message": "refused", "class": "permanent", "type": "SmtpError", "retryAfter": 5}
    assert (await attempts.tell(claimed, "complete", {"success": False, "error": error})).status_code == 200
    execution = await attempts.execution(claimed)
    assert (execution.status, execution.error_message) == ("failed", "refused")
    assert execution.error is not None
    assert (execution.error["code"], execution.error["type"]) == ("SMTP_DOWN", "SmtpError")


async def test_a_failure_that_may_pass_is_tried_again(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    error = {"message": "the mail server is busy", "class": "transient", "retryAfter": 120}
    assert (await attempts.tell(claimed, "complete", {"success": False, "error": error})).status_code == 200
    execution = await attempts.execution(claimed)
    assert (execution.status, execution.retry_count) == ("retrying", 1)
    assert execution.available_at is not None
    assert (execution.available_at - execution.updated_at).total_seconds() >= 119


async def test_what_its_service_has_stopped_begins_again_and_no_retry_is_counted(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    error = {"message": "shut down", "class": "interrupted", "retryAfter": 1}
    assert (await attempts.tell(claimed, "complete", {"success": False, "error": error})).status_code == 200
    execution = await attempts.execution(claimed)
    assert (execution.status, execution.retry_count) == ("retrying", 0)


async def test_a_cancel_is_heard_at_the_next_callback(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    admin = await attempts.door.client(attempts.door.token("root", Role.ADMIN, "acme"))
    assert (await admin.post(f"/v1/jobs/{claimed.id}/cancel")).status_code == 200
    for word in ("heartbeat", "progress"):
        assert (await attempts.tell(claimed, word)).json() == {"cancelRequested": True}
    await attempts.tell(claimed, "complete", {"success": False, "error": "stopped"})
    assert (await attempts.execution(claimed)).status == "cancelled"


async def test_once_another_attempt_has_begun_the_token_of_the_last_one_is_stale(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    back = finishes.Release(claimed.id, claimed.fence, Outcome.LOST, wait_seconds=0.0, retrying=True)
    await attempts.door.services.database.tx(lambda connection: finishes.release(connection, "dev", [back]))
    again = await WorkerByHand(attempts.door).start(str(claimed.id))
    for word, body in (("heartbeat", {}), ("progress", {"progress": 1}), ("complete", {"success": True})):
        answer = await attempts.tell(claimed, word, body)
        assert (answer.status_code, answer.json()["code"]) == (409, "LEASE_LOST"), word
    assert (await attempts.execution(again)).status == "running"


async def test_a_token_says_nothing_about_another_execution(attempts: Attempts) -> None:
    own, other = await attempts.accept(), await attempts.accept()
    unknown = UUID(int=7)
    told = {
        name: await attempts.stranger.post(
            f"/api/executions/{execution_id}/complete",
            json={"success": True},
            headers={"Authorization": f"Bearer {token_of(own)}"},
        )
        for name, execution_id in (("another", other.id), ("unknown", unknown), ("no id", "x"))
    }
    assert {answer.status_code for answer in told.values()} == {401}
    details = {answer.json()["detail"] for answer in told.values()}
    assert len(details) == 1, "which ids there are stays untold"
    assert (await attempts.execution(other)).status == "running"


async def test_no_other_credential_opens_a_callback(attempts: Attempts) -> None:
    claimed, door = await attempts.accept(), attempts.door
    forged = token_of(claimed, key="the secret key of somebody else, 32 b")
    next_fence = f"{claimed.fence + 1}.{token_of(claimed).partition('.')[2]}"
    tokens = ["", "x", forged, next_fence, door.token("root", Role.ADMIN, None), token_of(claimed)[:-1]]
    for token in tokens:
        assert (await attempts.tell(claimed, "heartbeat", token=token)).status_code == 401, token
    assert (await attempts.stranger.post(f"/api/executions/{claimed.id}/heartbeat")).status_code == 401


async def test_what_cannot_be_read_is_refused_with_the_field(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    for word, body in (
        ("progress", {"progress": 101}),
        ("progress", {"percent": 5}),
        ("complete", {}),
        ("complete", {"success": "yes"}),
        ("complete", {"success": True, "itemsProcessed": -1}),
        ("complete", {"success": False, "error": {"retryAfter": -1}}),
    ):
        assert (await attempts.tell(claimed, word, body)).status_code == 422, body
    assert (await attempts.tell(claimed, "complete", {"success": True, "summary": "x" * 1_000_001})).status_code == 413
    assert (await attempts.execution(claimed)).status == "running"


async def test_strangers_who_try_tokens_are_slowed_down(attempts: Attempts) -> None:
    claimed = await attempts.accept()
    answers = [await attempts.tell(claimed, "heartbeat", token="x") for _ in range(200)]
    assert 429 in {answer.status_code for answer in answers}
    assert (await attempts.tell(claimed, "heartbeat")).status_code == 200, "whoever holds the token is no stranger"


async def test_of_fifty_triggers_at_once_one_is_taken(door: Door) -> None:
    await register_remote_job(door)
    admin = await door.client(door.token("root", Role.OPERATOR, None))
    answers = await asyncio.gather(*(admin.post(f"/api/jobs/{NAME}/trigger") for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 49]
    assert {answer.json().get("code") for answer in answers} == {None, "JOB_ALREADY_RUNNING"}
