"""`/v1/jobs`: what may be asked for, what is answered, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from mainspring.api.v1_jobs import polling_advice
from mainspring.domain.access import Scope
from mainspring.domain.execution import Execution, Stage, Status, Trigger
from mainspring.store.queue import history
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.api.conftest import Door

NOBODY = "01890000-0000-7000-8000-000000000001"
FIELDS = [
    "id", "organizationId", "userId", "jobType", "status", "priority", "retryCount", "maxRetries", "payload", "result",
    "errorMessage", "progress", "totalSteps", "currentStep", "startedAt", "completedAt", "scheduledAt", "createdAt",
    "updatedAt",
]  # fmt: skip


async def end(door: Door, job_id: str, status: Status, **said: Any) -> None:
    """End a waiting execution as its last attempt would have."""
    await door.services.database.tx(
        lambda connection: history.end_live(
            connection, [UUID(job_id)], status=status, stages=history.NOT_STARTED, **said
        )
    )


async def stored(door: Door, job_id: str) -> Execution:
    return await door.services.commands.executions.get(Scope(door.app.settings.environment), UUID(job_id))


class TestCreate:
    async def test_it_answers_the_id_and_where_and_when_to_look(self, ada: httpx2.AsyncClient) -> None:
        answer = await ada.post("/v1/jobs", json={"jobType": "greet"})
        assert answer.status_code == 201
        job_id = answer.json()["jobId"]
        assert answer.json() == {"jobId": job_id, "message": "Job created successfully"}
        assert answer.headers["location"] == f"/v1/jobs/{job_id}"
        assert answer.headers["retry-after"] == "2"
        assert UUID(job_id).version == 7
        assert (await ada.get(answer.headers["location"])).json()["id"] == job_id

    async def test_everything_that_is_asked_for_is_kept(self, door: Door, ada: httpx2.AsyncClient) -> None:
        parent = await door.create(ada)
        at = datetime.now(UTC) + timedelta(days=1)  # noqa: TID251 - later than the store's clock
        job_id = await door.create(
            ada,
            jobType="ship",
            payload={"to": "Paris"},
            priority=-7,
            maxRetries=0,
            scheduledAt=at.isoformat(),
            queue="heavy",
            dependsOn=[parent],
        )
        execution = await stored(door, job_id)
        assert (execution.organization_id, execution.user_id, execution.trigger) == ("acme", "ada", Trigger.API)
        assert (execution.priority, execution.max_retries, execution.queue) == (-7, 0, "heavy")
        assert (execution.payload, execution.scheduled_at) == ({"to": "Paris"}, at)

    async def test_a_zone_of_the_clients_choice_is_the_same_instant(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada, scheduledAt="2090-01-30T10:30:00+05:30")
        shown = (await ada.get(f"/v1/jobs/{job_id}")).json()
        assert shown["scheduledAt"] == "2090-01-30T05:00:00.000Z"

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json", ""]
    )
    async def test_json_is_read_whatever_the_content_type(self, ada: httpx2.AsyncClient, content_type: str) -> None:
        answer = await ada.post("/v1/jobs", content=b'{"jobType": "greet"}', headers={"Content-Type": content_type})
        assert answer.status_code == 201

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({}, "jobType"),
            ({"jobType": ""}, "jobType"),
            ({"jobType": 7}, "jobType"),
            ({"jobType": "greet", "payload": []}, "payload"),
            ({"jobType": "greet", "payload": None}, "payload"),
            ({"jobType": "greet", "priority": "5"}, "priority"),
            ({"jobType": "greet", "priority": 5.0}, "priority"),
            ({"jobType": "greet", "priority": True}, "priority"),
            ({"jobType": "greet", "priority": 101}, "priority"),
            ({"jobType": "greet", "priority": -101}, "priority"),
            ({"jobType": "greet", "maxRetries": 21}, "maxRetries"),
            ({"jobType": "greet", "maxRetries": -1}, "maxRetries"),
            ({"jobType": "greet", "scheduledAt": 1700000000}, "scheduledAt"),
            ({"jobType": "greet", "scheduledAt": "tomorrow"}, "scheduledAt"),
            ({"jobType": "greet", "scheduledAt": "2090-01-30T10:30:00"}, "scheduledAt"),
            ({"jobType": "greet", "scheduledAt": "9999-12-31T23:59:59-14:00"}, "scheduledAt"),
            ({"jobType": "greet", "queue": "a b"}, "queue"),
            ({"jobType": "greet", "queue": "a\u0000"}, "queue"),
            ({"jobType": "greet", "uniqueKey": ""}, "uniqueKey"),
            ({"jobType": "greet", "uniqueKey": "k" * 201}, "uniqueKey"),
            ({"jobType": "greet", "dependsOn": ["first"]}, "dependsOn.0"),
            ({"jobType": "greet", "dependsOn": [NOBODY] * 101}, "dependsOn"),
            ({"jobType": "greet", "organizationId": "globex"}, "organizationId"),
            ({"jobType": "greet", "userId": "root"}, "userId"),
            ({"jobType": "greet", "status": "succeeded"}, "status"),
            ({"job_type": "greet"}, "job_type"),
            ([], "body"),
            ("greet", "body"),
        ],
    )
    async def test_a_body_that_does_not_fit_is_refused_field_by_field(
        self, ada: httpx2.AsyncClient, body: object, path: str
    ) -> None:
        answer = await ada.post("/v1/jobs", json=body)
        assert answer.status_code == 422
        assert answer.json()["code"] == "INVALID_REQUEST"
        assert path in [fault["path"] for fault in answer.json()["errors"]]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"jobType=greet", b'{"jobType": "greet", "payload": {"n": NaN}}', b'"\xff"']
    )
    async def test_what_is_not_json_is_400(self, ada: httpx2.AsyncClient, body: bytes) -> None:
        answer = await ada.post("/v1/jobs", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_JSON")

    @pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"Infinity"])
    async def test_a_number_that_is_none_is_400(self, ada: httpx2.AsyncClient, number: bytes) -> None:
        body = b'{"jobType": "greet", "payload": {"n": ' + number + b"}}"
        assert (await ada.post("/v1/jobs", content=body)).status_code == 400

    @pytest.mark.parametrize("depth", [70, 5_000, 100_000])
    async def test_a_deeply_nested_body_is_refused(self, ada: httpx2.AsyncClient, depth: int) -> None:
        body = b'{"jobType": "greet", "payload": {"x": ' + b"[" * depth + b"]" * depth + b"}}"
        answer = await ada.post("/v1/jobs", content=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
        assert "levels deep" in answer.json()["detail"]

    async def test_a_body_nested_as_deep_as_people_do_is_taken(self, door: Door, ada: httpx2.AsyncClient) -> None:
        payload: dict[str, Any] = {}
        for _ in range(40):
            payload = {"x": [payload]} if len(payload) < 1 else {"x": payload}
        await door.create(ada, payload=payload)

    async def test_a_body_over_a_megabyte_is_413(self, ada: httpx2.AsyncClient) -> None:
        answer = await ada.post("/v1/jobs", content=b" " * 1_000_001)
        assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")

    async def test_a_body_over_a_megabyte_is_413_though_it_never_says_how_long_it_is(
        self, ada: httpx2.AsyncClient
    ) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 100_000

        answer = await ada.post("/v1/jobs", content=endless())
        assert answer.status_code == 413

    async def test_a_payload_over_256_kilobytes_is_refused(self, ada: httpx2.AsyncClient) -> None:
        answer = await ada.post("/v1/jobs", json={"jobType": "greet", "payload": {"x": "a" * 256_001}})
        assert (answer.status_code, answer.json()["code"]) == (422, "PAYLOAD_TOO_LARGE")

    @pytest.mark.parametrize("name", ["unknown", "sweep", "os.system", "\U0001f600", "a\u0000b"])
    async def test_only_jobs_offered_on_demand_can_be_created(self, ada: httpx2.AsyncClient, name: str) -> None:
        answer = await ada.post("/v1/jobs", json={"jobType": name})
        assert (answer.status_code, answer.json()["code"]) == (422, "UNKNOWN_JOB_TYPE")
        assert "greet" in answer.json()["detail"]
        assert "sweep" not in answer.json()["detail"].partition("known ones")[2]

    async def test_a_payload_that_does_not_fit_the_jobs_model_is_refused(self, ada: httpx2.AsyncClient) -> None:
        answer = await ada.post("/v1/jobs", json={"jobType": "weigh", "payload": {"weight": "heavy"}})
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_PAYLOAD")
        assert "weight" in answer.json()["detail"]

    async def test_an_amount_of_money_is_refused_unless_the_author_allows_the_field(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        answer = await ada.post("/v1/jobs", json={"jobType": "greet", "payload": {"filters": {"price": 3}}})
        assert (answer.status_code, answer.json()["code"]) == (422, "MONETARY_VALUE")
        assert "payload.filters.price" in answer.json()["detail"]
        await door.create(ada, jobType="ship", payload={"price": 3})

    async def test_nul_in_a_payload_is_made_harmless(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada, payload={"x": "a\u0000b"})
        assert (await ada.get(f"/v1/jobs/{job_id}")).json()["payload"] == {"x": "a\ufffdb"}


class TestAskingTwice:
    async def test_the_same_key_returns_the_same_job(self, door: Door, ada: httpx2.AsyncClient) -> None:
        body = {"jobType": "greet", "payload": {"x": 1}}
        first = await ada.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k-1"})
        again = await ada.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k-1"})
        assert (again.status_code, again.json()) == (201, first.json())
        assert len(await door.audit(first.json()["jobId"])) == 1

    async def test_the_same_key_for_another_request_is_refused(self, ada: httpx2.AsyncClient) -> None:
        key = {"Idempotency-Key": "k-1"}
        await ada.post("/v1/jobs", json={"jobType": "greet"}, headers=key)
        answer = await ada.post("/v1/jobs", json={"jobType": "greet", "payload": {"x": 2}}, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")

    @pytest.mark.parametrize(
        "options",
        [
            {"priority": 9},
            {"maxRetries": 0},
            {"scheduledAt": "2100-01-01T00:00:00Z"},
            {"uniqueKey": "u"},
            {"webhook": {"url": "https://hooks.example.com/"}},
        ],
    )
    async def test_the_same_key_with_other_options_is_refused(
        self, ada: httpx2.AsyncClient, options: dict[str, object]
    ) -> None:
        key = {"Idempotency-Key": "k-1"}
        plain, told = {"jobType": "greet"}, {"jobType": "greet", **options}
        first = await ada.post("/v1/jobs", json=told, headers=key)
        again = await ada.post("/v1/jobs", json=told, headers=key)
        assert (again.status_code, again.json()) == (201, first.json())
        answer = await ada.post("/v1/jobs", json=plain, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")

    @pytest.mark.parametrize(("user", "organization"), [("bob", "acme"), ("ada", "globex")])
    async def test_keys_of_different_people_do_not_meet(
        self, door: Door, ada: httpx2.AsyncClient, user: str, organization: str
    ) -> None:
        key = {"Idempotency-Key": "k-1"}
        other = await door.client(door.token(user, organization=organization))
        first = await ada.post("/v1/jobs", json={"jobType": "greet"}, headers=key)
        second = await other.post("/v1/jobs", json={"jobType": "greet", "payload": {"x": 2}}, headers=key)
        assert second.status_code == 201
        assert first.json()["jobId"] != second.json()["jobId"]

    async def test_a_key_that_is_no_key_is_refused(self, ada: httpx2.AsyncClient) -> None:
        for key in ("", "a b", "k" * 201):
            answer = await ada.post("/v1/jobs", json={"jobType": "greet"}, headers={"Idempotency-Key": key})
            assert answer.status_code == 422

    async def test_a_unique_key_returns_the_job_that_has_not_ended(self, door: Door, ada: httpx2.AsyncClient) -> None:
        first = await door.create(ada, uniqueKey="nightly")
        assert await door.create(ada, uniqueKey="nightly") == first
        await end(door, first, Status.CANCELLED)
        assert await door.create(ada, uniqueKey="nightly") != first

    @pytest.mark.parametrize(("user", "organization"), [("bob", "acme"), ("ada", "globex")])
    async def test_unique_keys_of_different_people_do_not_meet(
        self, door: Door, ada: httpx2.AsyncClient, user: str, organization: str
    ) -> None:
        other = await door.client(door.token(user, organization=organization))
        assert await door.create(ada, uniqueKey="nightly") != await door.create(other, uniqueKey="nightly")


class TestRead:
    async def test_the_status_has_every_documented_field_and_no_other(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        job_id = await door.create(ada, payload={"x": [1, None, "é"]}, priority=5)
        body = (await ada.get(f"/v1/jobs/{job_id}/status")).json()
        assert list(body) == ["job", "progress", "canCancel", "canRetry"]
        assert list(body["job"]) == FIELDS
        assert body["job"] | {"createdAt": None, "updatedAt": None} == {
            "id": job_id, "organizationId": "acme", "userId": "ada", "jobType": "greet", "status": "queued",
            "priority": 5, "retryCount": 0, "maxRetries": 3, "payload": {"x": [1, None, "é"]}, "result": None,
            "errorMessage": None, "progress": 0, "totalSteps": None, "currentStep": 0, "startedAt": None,
            "completedAt": None, "scheduledAt": None, "createdAt": None, "updatedAt": None,
        }  # fmt: skip
        assert (body["progress"], body["canCancel"], body["canRetry"]) == (0, True, False)

    async def test_instants_have_milliseconds_and_a_z(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job = (await ada.get(f"/v1/jobs/{await door.create(ada)}")).json()
        assert datetime.strptime(job["createdAt"], "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007 - the form is what is tested
        assert len(job["createdAt"]) == len("2024-01-30T10:29:55.000Z")

    async def test_a_sensitive_field_is_never_shown(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada, jobType="ship", payload={"to": "Paris", "address": "4 rue du Bac"})
        for address in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/status", "/v1/jobs"):
            text = (await ada.get(address)).text
            assert "rue du Bac" not in text
            assert "Paris" in text

    async def test_a_skipped_run_shows_as_cancelled_with_its_reason(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        await end(door, job_id, Status.SKIPPED, skip_reason="dependency_not_met")
        job = (await ada.get(f"/v1/jobs/{job_id}")).json()
        assert (job["status"], job["errorMessage"]) == ("cancelled", "dependency_not_met")
        assert (await ada.get("/v1/jobs", params={"status": "cancelled"})).json()["total"] == 1

    async def test_the_advice_when_to_ask_again_follows_age_and_status(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=UTC)

        def advice(status: Status, age: float) -> int | None:
            made = now - timedelta(seconds=age)
            execution = Execution(
                UUID(int=1), "dev", "greet", "default", status, 0, None, Trigger.API, created_at=made, updated_at=made
            )
            return polling_advice(execution, now)

        assert [advice(status, 9.9) for status in (Status.QUEUED, Status.RUNNING, Status.RETRYING)] == [2, 2, 2]
        assert [advice(status, 10) for status in (Status.QUEUED, Status.RUNNING, Status.RETRYING)] == [10, 5, 10]
        assert {advice(status, 1) for status in Status if status.is_final} == {None}

    async def test_the_advice_is_in_the_header_until_the_job_has_ended(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        job_id = await door.create(ada)
        assert (await ada.get(f"/v1/jobs/{job_id}/status")).headers["retry-after"] == "2"
        await end(door, job_id, Status.SUCCEEDED)
        assert "retry-after" not in (await ada.get(f"/v1/jobs/{job_id}/status")).headers


class TestList:
    async def test_pages_hold_the_newest_first_and_add_up(self, door: Door, ada: httpx2.AsyncClient) -> None:
        made = [await door.create(ada) for _ in range(5)]
        await end(door, made[1], Status.SUCCEEDED)  # one that lies in history, between live ones
        pages = [(await ada.get("/v1/jobs", params={"page": page, "pageSize": 2})).json() for page in (1, 2, 3, 4)]
        assert [[job["id"] for job in page["jobs"]] for page in pages] == [made[:2:-1], made[2:0:-1], made[:1], []]
        assert {(page["total"], page["pageSize"], page["totalPages"]) for page in pages} == {(5, 2, 3)}
        assert [list(pages[0]), list(pages[0]["jobs"][0])] == [
            ["jobs", "total", "page", "pageSize", "totalPages"],
            FIELDS,
        ]

    async def test_the_link_leads_through_all_of_them(self, door: Door, ada: httpx2.AsyncClient) -> None:
        made = [await door.create(ada) for _ in range(5)]
        await door.create(ada, jobType="ship")
        address, found = "/v1/jobs?pageSize=2&jobType=greet", list[str]()
        while address:
            answer = await ada.get(address)
            found += [job["id"] for job in answer.json()["jobs"]]
            address = answer.links["next"]["url"] if answer.links else ""
        assert found == made[::-1]

    @pytest.mark.parametrize("status", ["queued", "succeeded", "failed", "cancelled", "running", "retrying"])
    async def test_the_status_filters(self, door: Door, ada: httpx2.AsyncClient, status: str) -> None:
        made = {name: await door.create(ada) for name in ("queued", "succeeded", "failed", "cancelled")}
        for name in ("succeeded", "failed", "cancelled"):
            await end(door, made[name], Status(name))
        body = (await ada.get("/v1/jobs", params={"status": status})).json()
        assert [job["id"] for job in body["jobs"]] == ([made[status]] if status in made else [])
        assert body["total"] == len(body["jobs"])

    @pytest.mark.parametrize(
        "query", ["page=0", "page=x", "pageSize=0", "pageSize=101", "status=skipped", "status=QUEUED", "cursor=7"]
    )
    async def test_a_query_out_of_range_is_refused(self, ada: httpx2.AsyncClient, query: str) -> None:
        answer = await ada.get(f"/v1/jobs?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_REQUEST")
        assert answer.json()["errors"][0]["path"] == query.partition("=")[0]

    @pytest.mark.parametrize("query", ["jobType=a%00b", "jobType=", "organizationId=%00", "page=401", "page=10000"])
    async def test_a_query_that_no_job_can_fit_is_refused(self, ada: httpx2.AsyncClient, query: str) -> None:
        assert (await ada.get(f"/v1/jobs?{query}")).status_code == 422

    async def test_a_count_beyond_ten_thousand_says_so(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mainspring.store.runs.execution_pages.MOST_COUNTED", 2)
        for _ in range(3):
            await door.create(ada)
        answer = await ada.get("/v1/jobs", params={"pageSize": 1})
        assert (answer.json()["total"], answer.headers["total-count-capped"]) == (2, "true")


class TestCancel:
    async def test_a_waiting_job_is_cancelled_at_once(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        answer = await ada.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()) == (200, {"message": "Job cancelled successfully"})
        body = (await ada.get(f"/v1/jobs/{job_id}/status")).json()
        assert (body["job"]["status"], body["canCancel"], body["canRetry"]) == ("cancelled", False, False)

    @pytest.mark.parametrize("status", [status for status in Status if status.is_final])
    async def test_an_ended_job_is_not_cancelled_and_nothing_is_audited(
        self, door: Door, ada: httpx2.AsyncClient, status: Status
    ) -> None:
        job_id = await door.create(ada)
        await end(door, job_id, status)
        answer = await ada.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "JOB_NOT_CANCELLABLE")
        assert [entry.action for entry in await door.audit(job_id)] == ["execution.create"]

    async def test_a_running_job_stays_running_and_shows_that_it_was_asked_to_stop(
        self, door: Door, ada: httpx2.AsyncClient
    ) -> None:
        job_id = await door.create(ada)
        await start(door, job_id)
        assert "cancelRequested" not in (await ada.get(f"/v1/jobs/{job_id}")).json()
        assert (await ada.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200
        job = (await ada.get(f"/v1/jobs/{job_id}")).json()
        assert (job["status"], job["cancelRequested"]) == ("running", True)


async def start(door: Door, job_id: str) -> None:
    """Make a waiting execution running, as a claim would."""
    await door.services.database.tx(
        lambda connection: connection.execute(
            executions_live.update().where(executions_live.c.id == UUID(job_id)).values(stage=int(Stage.RUNNING))
        )
    )


class TestRetry:
    async def test_a_failed_job_is_queued_again_under_its_id(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada)
        await end(door, job_id, Status.FAILED)
        await door.services.database.tx(
            lambda connection: connection.execute(executions.update().values(error_message="it broke"))
        )
        before = (await ada.get(f"/v1/jobs/{job_id}/status")).json()
        assert (before["canRetry"], before["job"]["errorMessage"]) == (True, "it broke")
        answer = await ada.post(f"/v1/jobs/{job_id}/retry")
        assert (answer.status_code, answer.json()) == (200, {"message": "Job retry initiated successfully"})
        after = (await ada.get(f"/v1/jobs/{job_id}/status")).json()
        assert (after["job"]["status"], after["job"]["retryCount"], after["job"]["errorMessage"]) == ("queued", 1, None)
        assert (after["progress"], after["canCancel"], after["canRetry"]) == (0, True, False)

    async def test_it_is_retried_while_retries_are_left(self, door: Door, ada: httpx2.AsyncClient) -> None:
        job_id = await door.create(ada, maxRetries=1)
        await end(door, job_id, Status.FAILED)
        assert (await ada.post(f"/v1/jobs/{job_id}/retry")).status_code == 200
        await end(door, job_id, Status.FAILED)
        answer = await ada.post(f"/v1/jobs/{job_id}/retry")
        assert (answer.status_code, answer.json()["code"]) == (409, "JOB_NOT_RETRYABLE")

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.SKIPPED, None])
    async def test_what_did_not_fail_is_not_retried(
        self, door: Door, ada: httpx2.AsyncClient, status: Status | None
    ) -> None:
        job_id = await door.create(ada)
        if status is not None:
            await end(door, job_id, status)
        answer = await ada.post(f"/v1/jobs/{job_id}/retry")
        assert (answer.status_code, answer.json()["code"]) == (409, "JOB_NOT_RETRYABLE")
