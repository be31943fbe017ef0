"""The on-demand document against a served application: each request as it is written, each answer field by field."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

import httpx2
import pytest
from pydantic.alias_generators import to_camel

from mainspring import JobContext, Mainspring, Retry, TransientError
from mainspring.api.app import create_api
from mainspring.api.v1_jobs import polling_advice
from mainspring.api.v1_jobs_bodies import ShownStatus, status_json
from mainspring.builtin.export import STEPS
from mainspring.domain.access import Role
from mainspring.domain.execution import Execution, Status, Trigger
from mainspring.sample.quotes import quotes_report
from tests.contract import seed_document
from tests.contract.seed_document import Exchange, endpoint, require_answer, transcript

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from mainspring.reports.source import ReportCaller


class Server:
    """The application of the document, which goes as far as the next documented answer wants it to.

    Only the host and the token of a request are replaced, and ids by those that this server has given.
    """

    def __init__(self, app: Mainspring) -> None:
        self.app = app
        self.rows_may_pass = asyncio.Event()
        self._serving = AsyncExitStack()
        self._working = AsyncExitStack()
        self._is_working = False
        self._ids: dict[str, str] = {}

    async def open(self) -> None:
        """Serve it, to the administrator of the document, who is a member of org_acme."""
        api = create_api(self.app)
        await self._serving.enter_async_context(api.router.lifespan_context(api))
        self._token = api.state.services.identity.tokens.create(
            "user_admin", role=Role.MEMBER, organization_id="org_acme"
        )
        transport = httpx2.ASGITransport(app=api)
        client = httpx2.AsyncClient(transport=transport, base_url=seed_document.SERVER)
        self._client = await self._serving.enter_async_context(client)

    async def close(self) -> None:
        """Stop it."""
        self.rows_may_pass.set()
        await self.stop_working()
        await self._serving.aclose()

    async def stop_working(self) -> None:
        """Let nobody take up what is queued from now on."""
        self._is_working = False
        await self._working.aclose()

    async def rows(self, filters: dict[str, Any], caller: ReportCaller) -> AsyncIterator[dict[str, Any]]:
        """Return the rows of the report, once they may pass."""
        await self.rows_may_pass.wait()
        async with quotes_report().opened(filters, caller) as rows:
            async for row in rows:
                yield row

    def named(self, address: str) -> str:
        """Return an address of an example with the one job that there is in the place of `{jobId}`."""
        [job_id] = self._ids.values()
        return address.replace("{jobId}", job_id)

    async def send(self, exchange: Exchange) -> httpx2.Response:
        """Send a request of the document."""
        known = exchange.job_id
        address = exchange.address if known is None else exchange.address.replace(known, self._ids.get(known, known))
        headers = exchange.headers | {"Authorization": f"Bearer {self._token}"}
        return await self._client.request(exchange.method, address, headers=headers, content=exchange.body)

    async def get(self, address: str) -> httpx2.Response:
        """Ask for something that an answer has named."""
        return await self._client.get(address, headers={"Authorization": f"Bearer {self._token}"})

    async def replay(self, exchange: Exchange) -> httpx2.Response:
        """Send a request as soon as the job is where the document has it, and return the answer."""
        job = exchange.answer.get("job")
        if job is None:
            answer = await self.send(exchange)
            if "jobId" in exchange.answer:
                self._ids[exchange.answer["jobId"]] = answer.json()["jobId"]
            return answer
        await self._work_until_documented(job["status"])
        async with asyncio.timeout(20):
            while True:
                answer = await self.send(exchange)
                shown = answer.json()["job"]
                if all(shown[name] == job[name] for name in ("status", "currentStep")):
                    return answer
                await self.app.world.sleep(0.02)  # others need the processor too

    async def _work_until_documented(self, status: str) -> None:
        if status != "queued" and not self._is_working:
            self._is_working = True
            await self._working.enter_async_context(self.app.running())
        if status == "succeeded":
            self.rows_may_pass.set()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    app = Mainspring(
        database_url=f"sqlite:///{tmp_path}/store.db", export_dir=tmp_path / "exports", poll="0.05s", heartbeat="0.2s"
    )
    server = Server(app)
    app.report("quotes")(server.rows)
    await server.open()
    yield server
    await server.close()


async def test_job_creation_and_polling_flow(server: Server) -> None:
    exchanges = transcript("Job Creation and Polling Flow")
    assert [exchange.answer.get("job", {}).get("status") for exchange in exchanges] == [
        None, "queued", "running", "succeeded",
    ]  # fmt: skip
    *_, succeeded = [await replayed(server, exchange) for exchange in exchanges]
    result = succeeded["job"]["result"]
    file = await server.get(result["downloadUrl"])
    assert (file.status_code, len(file.content)) == (200, result["fileSize"])
    assert len(file.text.splitlines()) == 1 + result["recordCount"]


async def test_job_failure_and_retry_flow(server: Server) -> None:
    create, failed, retry, queued = transcript("Job Failure and Retry Flow")
    for exchange in (create, failed):
        await replayed(server, exchange)
    await server.stop_working()  # the document looks again before anybody has taken the job up
    _, again = [await replayed(server, exchange) for exchange in (retry, queued)]
    reset = ("result", "errorMessage", "totalSteps", "startedAt", "completedAt")
    assert {name: again["job"][name] for name in reset} == dict.fromkeys(reset)


async def replayed(server: Server, exchange: Exchange) -> dict[str, Any]:
    """Return the answer to a step of a transcript, which is as documented; jobs alone are abridged there."""
    answer = await server.replay(exchange)
    body = answer.json()
    assert answer.status_code == (201 if "jobId" in body else 200), (exchange.title, answer.text)
    require_answer(body | {"job": None}, exchange.answer | {"job": None}, at=exchange.title)
    if "job" in exchange.answer:
        require_answer(body["job"], exchange.answer["job"], at=f"{exchange.title}: job", more=True)
        assert sorted(body["job"]) == sorted(map(to_camel, seed_document.columns())), exchange.title
        assert ("retry-after" in answer.headers) == body["canCancel"], exchange.title
    return body


async def test_the_endpoints_answer_as_their_examples(server: Server) -> None:
    create = endpoint("Create Job")
    require_answer((await server.replay(create)).json(), create.answer)

    # 60 percent is the third step of the document's own list, not the fourth: here the second one is held open.
    status = endpoint("Get Job Status")
    place = {"progress": 40, "currentStep": 2}
    running = status.answer["job"] | place
    documented = status.answer | {"progress": 40, "job": running}
    answer = await server.replay(replace(status, address=server.named(status.address), answer=documented))
    require_answer(answer.json(), documented)
    assert answer.headers["retry-after"] == "2"

    listed = endpoint("List Jobs")
    [job] = listed.answer["jobs"]
    of_this_one = job | place | {"payload": running["payload"]}
    require_answer((await server.send(listed)).json(), listed.answer | {"jobs": [of_this_one]})

    cancel = endpoint("Cancel Job")
    require_answer((await server.send(replace(cancel, address=server.named(cancel.address)))).json(), cancel.answer)


async def test_retry_answers_as_its_example(server: Server) -> None:
    for exchange in transcript("Job Failure and Retry Flow")[:2]:
        await server.replay(exchange)
    retry = endpoint("Retry Job")
    answer = await server.send(replace(retry, address=server.named(retry.address)))
    require_answer(answer.json(), retry.answer)


@pytest.mark.parametrize("job_type", sorted(seed_document.names_in("Job Types")))
async def test_a_payload_that_is_wrong_fails_each_type_in_its_first_step(server: Server, job_type: str) -> None:
    create, failed = transcript("Job Failure and Retry Flow")[:2]
    await server.replay(replace(create, body=f'{{"jobType": "{job_type}", "payload": {{"surprise": true}}}}'))
    said = "Invalid export job payload" if job_type == "export_report" else f"Invalid {job_type} job payload"
    job = failed.answer["job"] | {"errorMessage": said}
    await replayed(server, replace(failed, answer=failed.answer | {"job": job}))


async def test_a_job_being_retried_can_be_cancelled_and_not_retried(server: Server) -> None:
    @server.app.job("flaky", on_demand=True, retry=Retry(max_retries=1, base=timedelta(hours=1)))
    async def _flaky(ctx: JobContext[Any]) -> None:
        raise TransientError("the mail provider does not answer")

    create, queued = transcript("Job Creation and Polling Flow")[:2]
    await server.replay(replace(create, body='{"jobType": "flaky"}'))
    place = {"job": {"status": "retrying", "currentStep": 0, "retryCount": 1, "maxRetries": 1}}
    documented = {**place, "progress": 0, "canCancel": True, "canRetry": False}
    await replayed(server, replace(queued, answer=documented))
    cancel = endpoint("Cancel Job")
    assert (await server.send(replace(cancel, address=server.named(cancel.address)))).json() == cancel.answer
    assert (await server.send(queued)).json()["job"]["status"] == "cancelled"


def test_the_polling_advice_is_the_documented_one() -> None:
    made = datetime(2024, 1, 30, 10, 29, 55, tzinfo=UTC)

    def advice(status: Status, age: int) -> int | None:
        execution = Execution(
            UUID(int=1), "dev", "greet", "default", status, 0, None, Trigger.API, created_at=made, updated_at=made
        )
        return polling_advice(execution, made + timedelta(seconds=age))

    documented = seed_document.polling_seconds()
    assert documented == {"Initial": 2, "Running": 5, "Queued": 10}
    assert {advice(status, 9) for status in Status if not status.is_final} == {documented["Initial"]}
    assert advice(Status.RUNNING, 10) == documented["Running"]
    assert advice(Status.QUEUED, 10) == advice(Status.RETRYING, 10) == documented["Queued"]
    assert "- **Completed jobs**: No polling needed" in seed_document.document()
    assert {advice(status, age) for status in Status if status.is_final for age in (0, 10)} == {None}


@pytest.mark.parametrize("state", list(seed_document.states()))
def test_each_state_can_be_left_as_the_table_says(state: str) -> None:
    made = datetime(2024, 1, 30, tzinfo=UTC)
    execution = Execution(
        UUID(int=1), "dev", "greet", "default", Status(state), 0, None, Trigger.API, made, made, max_retries=1
    )
    shown = status_json(execution)
    assert (shown["canCancel"], shown["canRetry"]) == seed_document.states()[state]
    assert not status_json(replace(execution, retry_count=1))["canRetry"]  # "only if retry count < max retries"


def test_the_states_the_types_the_steps_and_the_permissions_are_those_of_the_document(server: Server) -> None:
    assert len(seed_document.states()) == 6
    assert seed_document.names_in("Job States") == set(seed_document.states()) == set(get_args(ShownStatus))
    assert seed_document.names_in("Job Types") <= set(server.app.registry.names())
    assert seed_document.steps_of_an_export() == [tuple(step) for step in STEPS]
    assert seed_document.names_in("Job Permissions") <= {permission.value for permission in Role.MEMBER.permissions}
