"""`/v1/jobs/{id}/attempts` and `/logs`: each try at a job, and what it said."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from mainspring import PermanentError
from mainspring.domain.access import Role
from mainspring.domain.execution import Status
from mainspring.domain.failure import failure_of
from mainspring.domain.write_door import json_text
from mainspring.store.tables import attempts
from tests.api.worker_by_hand import WorkerByHand

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door

NOBODY = "01890000-0000-7000-8000-000000000001"


async def stumbled(door: Door, client: httpx2.AsyncClient) -> str:
    """Return a job that failed once, was retried by hand, and succeeded."""
    worker = WorkerByHand(door)
    job_id = await door.create(client)
    for status in (Status.FAILED, Status.SUCCEEDED):
        claimed = await worker.start(job_id)
        for level in ("debug", "info", "warning", "error"):
            await worker.say(claimed, f"a word at {level}", level=level, attempt=claimed.attempt)
        said = (
            {} if status is Status.SUCCEEDED else {"error": json_text(failure_of(PermanentError("it broke")).as_json())}
        )
        await worker.end(claimed, status, **said)
        if status is Status.FAILED:
            assert (await client.post(f"/v1/jobs/{job_id}/retry")).status_code == 200
    return job_id


class TestAttempts:
    async def test_a_job_that_nobody_has_tried_has_none(self, door: Door, ada: httpx2.AsyncClient) -> None:
        assert (await ada.get(f"/v1/jobs/{await door.create(ada)}/attempts")).json() == {"attempts": []}

    async def test_each_try_is_told_the_first_one_first(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await stumbled(door, ada)
        job = (await ada.get(f"/v1/jobs/{job_id}")).json()
        first, second = (await ada.get(f"/v1/jobs/{job_id}/attempts")).json()["attempts"]
        assert list(first) == [
            "number", "fence", "node", "outcome", "startedAt", "completedAt", "durationMs", "error",
        ]  # fmt: skip
        assert (first["number"], first["outcome"]) == (1, "failed")
        assert first["error"] == {
            "type": "PermanentError", "code": "PERMANENT_ERROR", "message": "it broke",
        }  # fmt: skip
        assert (second["number"], second["outcome"], second["error"]) == (2, "succeeded", None)
        assert first["fence"] < second["fence"]
        assert first["node"] != second["node"]  # each was run by a node of its own
        assert (second["startedAt"], second["completedAt"]) == (job["startedAt"], job["completedAt"])
        for attempt in (first, second):
            took = datetime.fromisoformat(attempt["completedAt"]) - datetime.fromisoformat(attempt["startedAt"])
            assert abs(attempt["durationMs"] - took.total_seconds() * 1000) <= 1

    async def test_a_try_that_goes_on_has_no_end(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        claimed = await WorkerByHand(door).start(job_id)
        [attempt] = (await ada.get(f"/v1/jobs/{job_id}/attempts")).json()["attempts"]
        assert attempt | {"startedAt": None, "node": None} == {
            "number": 1, "fence": claimed.fence, "node": None, "outcome": None, "startedAt": None, "completedAt": None,
            "durationMs": None, "error": None,
        }  # fmt: skip
        assert attempt["startedAt"] is not None


class TestLogs:
    async def test_lines_of_all_tries_come_in_their_order(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await stumbled(door, ada)
        body = (await ada.get(f"/v1/jobs/{job_id}/logs")).json()
        assert list(body) == ["logs", "pageSize"]
        assert list(body["logs"][0]) == ["id", "at", "attempt", "level", "message", "fields"]
        assert [(line["attempt"], line["level"]) for line in body["logs"]] == [
            (attempt, level) for attempt in (1, 2) for level in ("debug", "info", "warning", "error")
        ]
        assert body["logs"][0]["fields"] == {"attempt": 1}

    async def test_a_level_leaves_out_what_is_below_it(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await stumbled(door, ada)
        lines = (await ada.get(f"/v1/jobs/{job_id}/logs?level=warning")).json()["logs"]
        assert [line["level"] for line in lines] == ["warning", "error"] * 2

    async def test_the_link_leads_through_all_lines(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await stumbled(door, ada)
        everything = (await ada.get(f"/v1/jobs/{job_id}/logs?level=info&pageSize=100")).json()["logs"]
        address, found = f"/v1/jobs/{job_id}/logs?level=info&pageSize=3", list[Any]()
        while address:
            answer = await ada.get(address)
            assert len(answer.json()["logs"]) <= 3
            found += answer.json()["logs"]
            address = answer.links["next"]["url"] if answer.links else ""
        assert found == everything
        assert len(found) == 6

    async def test_who_has_all_lines_gets_none_and_no_link(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await stumbled(door, ada)
        last = (await ada.get(f"/v1/jobs/{job_id}/logs")).json()["logs"][-1]["id"]
        answer = await ada.get(f"/v1/jobs/{job_id}/logs?cursor={last}")
        assert (answer.json()["logs"], answer.links) == ([], {})

    @pytest.mark.parametrize("query", ["level=loud", "cursor=-1", "cursor=x", f"cursor={2**63}", "pageSize=101"])
    async def test_a_query_out_of_range_is_refused(self, door: Door, ada: httpx2.AsyncClient, query: str) -> None:
        answer = await ada.get(f"/v1/jobs/{await door.create(ada)}/logs?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"] == query.partition("=")[0]


@pytest.mark.parametrize("what", ["attempts", "logs"])
class TestScope:
    @pytest.mark.parametrize(("user", "organization"), [("bob", "acme"), ("mallory", "globex")])
    async def test_those_of_somebody_else_are_those_of_nobody(
        self, door: Door, ada: httpx2.AsyncClient, user: str, organization: str, what: str
    ) -> None:
        job_id = await stumbled(door, ada)
        other = await door.client(door.token(user, organization=organization))
        foreign, unknown = [await other.get(f"/v1/jobs/{name}/{what}") for name in (job_id, NOBODY)]
        assert foreign.status_code == 404
        assert foreign.content == unknown.content

    async def test_runs_of_the_platform_are_not_here_for_its_staff_either(self, door: Door, what: str) -> None:
        execution = await door.app.enqueue("sweep")
        staff = await door.client(door.token("root", Role.ADMIN, None))
        assert (await staff.get(f"/v1/jobs/{execution.id}/{what}")).status_code == 404


async def test_the_trace_of_an_error_is_not_for_tenants(door: Door, ada: httpx2.AsyncClient) -> None:
    job_id = await stumbled(door, ada)
    query = select(attempts.c.error)
    kept = await door.services.database.read(lambda connection: connection.execute(query).scalar_one())
    assert '"trace"' in kept
    assert "trace" not in (await ada.get(f"/v1/jobs/{job_id}/attempts")).text
