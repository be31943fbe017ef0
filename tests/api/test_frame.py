"""What every answer has, whatever was asked."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mainspring import Mainspring
from mainspring.api.app import create_api
from mainspring.api.envelope import is_enveloped
from mainspring.api.frame import RequestFrame
from mainspring.api.problems import MEDIA_TYPE, OF_SIGNING_IN, STATUS_OF
from mainspring.domain.access import Role
from mainspring.errors import ConfigurationError, DatabaseUnreachableError, MainspringError
from mainspring.runtime.loop import Loop
from mainspring.security.logins import TooManySignInsError
from mainspring.security.passwords import TooBusyError
from mainspring.store.runs import execution_pages
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld
from tests.api.documented import documented_codes

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

    from mainspring.runtime.loop import Turn
    from tests.api.conftest import Door

PROBLEM = {"type", "title", "status", "detail", "code", "requestId"}


class TestEveryAnswer:
    @pytest.mark.parametrize("address", ["/v1/jobs", "/v1/jobs/x", "/nothing", "/healthz", "/docs", "/openapi.json"])
    async def test_it_has_the_security_headers_and_an_id(self, door: Door, address: str) -> None:
        headers = (await (await door.client(door.token())).get(address)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
        assert len(headers["x-request-id"]) == 36

    async def test_a_proxy_chooses_the_request_id_where_it_is_one(self, door: Door) -> None:
        client = await door.client()
        assert (await client.get("/v1/jobs", headers={"X-Request-Id": "edge-7.1"})).json()["requestId"] == "edge-7.1"
        for bad in ("a b", "a" * 101, "x\x1b[31m", ""):
            answer = await client.get("/v1/jobs", headers={"X-Request-Id": bad})
            assert len(answer.headers["x-request-id"]) == 36

    async def test_an_error_is_a_problem_document_that_names_its_request(self, door: Door) -> None:
        answer = await (await door.client()).get("/v1/jobs")
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert set(body) == PROBLEM
        assert (body["type"], body["title"], body["status"]) == ("about:blank", "Unauthorized", 401)
        assert body["requestId"] == answer.headers["x-request-id"]

    @pytest.mark.parametrize(("method", "address"), [("GET", "/nothing"), ("GET", "/v1/jobs/"), ("GET", "/v1")])
    async def test_an_unknown_address_is_404(self, door: Door, method: str, address: str) -> None:
        answer = await (await door.client(door.token())).request(method, address)
        assert answer.status_code == 404
        assert set(answer.json()) == PROBLEM - {"requestId"}

    async def test_another_method_is_405_and_says_which_there_are(self, door: Door) -> None:
        answer = await (await door.client(door.token())).delete("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert "POST" in answer.headers["allow"] or "GET" in answer.headers["allow"]

    async def test_text_that_is_no_text_is_answered_all_the_same(self, ada: httpx2.AsyncClient) -> None:
        for address in ("/v1/jobs/%ff%00", "/v1/jobs?jobType=%ff%00", "/v1/jobs?cursor=%00", "/api/v1/exports/%00"):
            assert (await ada.get(address)).status_code in {200, 404, 422}


class TestUnexpectedErrors:
    async def test_it_tells_nothing_but_where_to_find_it_and_is_logged_once(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*_arguments: object, **_options: object) -> None:
            raise ZeroDivisionError("select * from secrets")

        monkeypatch.setattr(execution_pages, "page", fail)
        answer = await ada.get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
        assert "secrets" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        [line] = [line for line in capsys.readouterr().out.splitlines() if '"level":"error"' in line]
        assert answer.json()["requestId"] in line
        assert "ZeroDivisionError: select * from secrets" in line

    async def test_an_answer_that_breaks_off_is_cut_and_not_mended(self, door: Door) -> None:
        async def break_off(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ZeroDivisionError

        transport = httpx2.ASGITransport(app=RequestFrame(break_off, door.app.world))
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            with pytest.raises(ZeroDivisionError):
                await client.get("/")

    async def test_a_client_that_goes_away_is_no_error(self, door: Door, capsys: pytest.CaptureFixture[str]) -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        token = f"Bearer {door.token()}".encode()
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/jobs",
            "query_string": b"",
            "headers": [(b"authorization", token)],
        }
        await door.api(scope, receive, send)
        assert sent == []
        assert "error" not in capsys.readouterr().out

    async def test_a_database_that_does_not_answer_is_503_and_its_address_is_not_told(
        self, door: Door, ada: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_arguments: object, **_options: object) -> None:
            raise DatabaseUnreachableError("the database postgresql://db.internal/x cannot be reached")

        monkeypatch.setattr(execution_pages, "page", fail)
        monkeypatch.setattr(schema, "check", fail)
        for address in ("/v1/jobs", "/readyz"):
            answer = await ada.get(address)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "db.internal" not in answer.text
        assert (await ada.get("/healthz")).status_code == 200


class TestHealth:
    async def test_a_node_is_healthy_and_ready_without_a_token(self, door: Door) -> None:
        client = await door.client()
        assert (await client.get("/healthz")).json() == {"status": "ok", "loops": {}}
        assert (await client.get("/readyz")).json()["status"] == "ready"

    async def test_a_node_that_stops_is_not_ready(self, door: Door) -> None:
        door.api.state.draining = True
        client = await door.client()
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "NOT_READY")
        assert (await client.get("/healthz")).status_code == 200

    async def test_a_loop_that_is_stuck_is_named(self, door: Door) -> None:
        class Clock(RealWorld):
            seconds = 0.0

            def monotonic(self) -> float:
                return self.seconds

        clock = Clock()

        class Node:
            loops = (Loop("worker", _never, interval=1, world=clock),)

        clock.seconds = 61.0
        door.api.state.node = Node()
        answer = await (await door.client()).get("/healthz")
        assert answer.status_code == 503
        assert "worker is 61 s late" in answer.json()["detail"]

    async def test_the_loops_of_a_node_are_shown(self, app: Mainspring, open_door: Any) -> None:
        async with app.running() as node, open_door(app, node=node) as door:
            shown = (await (await door.client()).get("/healthz")).json()["loops"]
            assert set(shown) == {loop.name for loop in node.loops}
            assert "worker" in shown


async def _never() -> Turn:
    raise NotImplementedError


class TestDocuments:
    async def test_the_page_of_routes_is_open_on_this_machine_and_loads_nothing_from_elsewhere(
        self, door: Door
    ) -> None:
        answer = await (await door.client()).get("/docs")
        assert answer.status_code == 200
        assert "/v1/jobs/{job_id}/status" in answer.text
        assert "<script" not in answer.text
        assert "http" not in answer.text

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
    async def test_behind_a_proxy_it_is_for_those_who_read_the_settings(self, door: Door, header: str) -> None:
        anybody = await door.client(**{header: "203.0.113.7"})
        member = await door.client(door.token(), **{header: "203.0.113.7"})
        viewer = await door.client(door.token(role=Role.VIEWER), **{header: "203.0.113.7"})
        statuses = [(await client.get("/docs")).status_code for client in (anybody, member, viewer)]
        assert statuses == [401, 403, 200]

    async def test_beyond_this_machine_it_is_for_those_who_read_the_settings(
        self, app: Mainspring, open_door: Any
    ) -> None:
        async with open_door(app, host="0.0.0.0") as door:  # noqa: S104 - what is tested
            assert (await (await door.client()).get("/docs")).status_code == 401
            viewer = await door.client(door.token(role=Role.VIEWER))
            assert (await viewer.get("/docs")).status_code == 200
            assert (await (await door.client()).get("/openapi.json")).status_code == 200

    async def test_every_route_documents_every_error_it_may_answer(self, door: Door) -> None:
        document = (await (await door.client()).get("/openapi.json")).json()
        operations = {
            (method, path): operation["responses"]
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        for (method, path), responses in operations.items():
            if path in {"/healthz", "/readyz"}:
                continue
            if path.startswith("/api/executions/"):  # opened by the token of an attempt, which tells of no other
                assert {"401", "409", "421", "429", "500", "503"} <= set(responses), (method, path)
                assert not {"403", "404"} & set(responses), (method, path)
                continue
            assert {"401", "403", "421", "429", "500", "503"} <= set(responses), (method, path)
            names_the_caller = (method, path) == ("put", "/api/services/{name}/jobs")  # any other name is 403
            names_a_job = (method, path) == ("post", "/admin/replays")  # in its body
            is_one_of_few = (method, path) == ("put", "/admin/notifications/mine/{channel}")  # any other one is 422
            names_a_thing = "{" in path and not names_the_caller and not is_one_of_few
            assert ("404" in responses) == (names_a_job or names_a_thing), (method, path)
        assert set(operations["post", "/v1/jobs"]) == {
            "201", "400", "401", "403", "409", "413", "421", "422", "429", "500", "503"
        }  # fmt: skip
        for (_, path), responses in operations.items():
            for status, answer in responses.items():
                if status >= "400" and status != "416" and not is_enveloped(path):
                    [(media_type, content)] = answer["content"].items()
                    assert (media_type, content["schema"]) == (MEDIA_TYPE, {"$ref": "#/components/schemas/Problem"})
                    assert {example["value"]["status"] for example in content["examples"].values()} == {int(status)}

    async def test_every_error_with_a_status_is_documented_with_its_code_where_that_status_is(self, door: Door) -> None:
        document = (await (await door.client()).get("/openapi.json")).json()
        documented = {
            (int(status), code)
            for operations in document["paths"].values()
            for operation in operations.values()
            for status, answer in operation["responses"].items()
            if MEDIA_TYPE in answer.get("content", {})
            for code in documented_codes(answer)
        }
        reaching = {(int(status), kind.code) for kind, status in STATUS_OF.items() if kind not in OF_SIGNING_IN}
        assert reaching <= documented

    @pytest.mark.parametrize(
        ("error", "status", "wait"),
        [(TooManySignInsError(timedelta(seconds=89.2)), 429, "90"), (TooBusyError("so many"), 503, "5")],
    )
    async def test_a_sign_in_that_has_to_wait_is_told_for_how_long(
        self, door: Door, error: MainspringError, status: int, wait: str
    ) -> None:
        async def sign_in() -> None:
            raise error

        door.api.add_api_route("/sign-in", sign_in, include_in_schema=False)
        answer = await (await door.client()).get("/sign-in")
        assert (answer.status_code, answer.headers["retry-after"]) == (status, wait)
        assert answer.json()["code"] == error.code

    async def test_the_document_says_who_is_let_in_and_what_a_creation_takes(self, door: Door) -> None:
        document = (await (await door.client()).get("/openapi.json")).json()
        assert document["components"]["securitySchemes"] == {
            "HTTPBearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token (JWT), or a key of `mainspring key create`.",
            }
        }
        create = document["paths"]["/v1/jobs"]["post"]
        assert create["security"] == [{"HTTPBearer": []}]
        body = create["requestBody"]["content"]["application/json"]["schema"]
        assert body["additionalProperties"] is False
        assert list(body["properties"]) == [
            "jobType", "template", "payload", "priority", "maxRetries", "scheduledAt", "queue", "uniqueKey",
            "dependsOn", "onParentFailure", "webhook"
        ]  # fmt: skip


def test_an_application_that_needs_a_key_of_its_own_does_not_start_without(tmp_path: Path) -> None:
    app = Mainspring(database_url=f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ConfigurationError, match="MAINSPRING_SECRET_KEY"):
        create_api(app, host="0.0.0.0")  # noqa: S104 - what is refused
    with pytest.raises(ConfigurationError, match="MAINSPRING_SECRET_KEY"):
        create_api(Mainspring(database_url="postgresql://localhost/x"))
