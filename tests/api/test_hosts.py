"""By which names the server may be asked for, on HTTP and on WebSockets."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from mainspring.api.hosts import HostCheck, Hosts

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2
    from starlette.types import Message, Receive, Scope, Send

    from tests.api.conftest import Door

NEAR = [
    "localhost", "LOCALHOST:7007", "localhost.", "jobs.localhost", "127.0.0.1:7007", "[::1]:7007", "[::1]",
    "192.0.2.7", "mainspring:7007", "testserver",
]  # fmt: skip
FAR = [
    "evil.example", "evil.example.", "localhost.evil.example", "127.0.0.1.evil.example:7007", "[::1", "",
    "user@localhost.evil.example", "evil.example:127.0.0.1",
]  # fmt: skip


class TestNames:
    @pytest.mark.parametrize("host", NEAR)
    @pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "localhost"])
    def test_addresses_and_names_of_this_machine_and_its_network_are_known(self, bound: str, host: str) -> None:
        assert Hosts(bound, None).accepts(host)
        assert Hosts("::", "https://jobs.example").accepts(host)

    @pytest.mark.parametrize("host", FAR)
    def test_no_other_name_is(self, host: str) -> None:
        assert not Hosts("127.0.0.1", None).accepts(host)
        assert not Hosts("::", "https://jobs.example").accepts(host)

    def test_the_public_address_is_known_whatever_its_port(self) -> None:
        hosts = Hosts("127.0.0.1", "https://Jobs.Example:8443/path")
        assert [hosts.accepts(host) for host in ("jobs.example", "JOBS.example:443", "x.jobs.example")] == [
            True, True, False
        ]  # fmt: skip

    def test_beyond_this_machine_nobody_can_tell_without_a_public_address(self) -> None:
        assert Hosts("::", None).accepts("jobs.example")

    def test_the_name_that_is_bound_is_known(self) -> None:
        assert Hosts("Jobs.internal.example", "https://jobs.example").accepts("jobs.internal.example:7007")


class TestAtTheDoor:
    @pytest.mark.parametrize("address", ["/healthz", "/docs", "/openapi.json", "/v1/jobs", "/nothing"])
    async def test_another_name_is_421_wherever_it_leads(self, door: Door, address: str) -> None:
        client = await door.client(door.token())
        answer = await client.get(address, headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (421, "HOST_UNKNOWN")
        assert "MAINSPRING_PUBLIC_URL" in answer.json()["detail"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json()["requestId"] == answer.headers["x-request-id"]

    async def test_a_request_of_a_program_that_names_no_host_is_answered(self, door: Door) -> None:
        sent: list[Message] = []
        await door.api(scope_of("http", None), _receive, _into(sent))
        assert sent[0]["status"] == 200

    @pytest.mark.parametrize(("host", "accepted"), [("evil.example", False), ("localhost:7007", True)])
    async def test_a_websocket_for_another_name_is_closed_before_anybody_sees_it(
        self, host: str, *, accepted: bool
    ) -> None:
        async def accept(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

        sent: list[Message] = []
        await HostCheck(accept, Hosts("127.0.0.1", None))(scope_of("websocket", host), _receive, _into(sent))
        assert [message["type"] for message in sent] == ["websocket.accept" if accepted else "websocket.close"]

    async def test_browsers_are_told_to_stay_with_https_where_there_is_one(
        self, tmp_path: Path, migrated_store: Path, open_door: Any
    ) -> None:
        def stays(answer: httpx2.Response) -> bool:
            return "strict-transport-security" in answer.headers

        shutil.copy(migrated_store, tmp_path / "store.db")
        app = Mainspring(database_url=f"sqlite:///{tmp_path}/store.db", public_url="https://jobs.example")
        async with open_door(app) as door:
            client = await door.client()
            assert stays(await client.get("/healthz", headers={"Host": "jobs.example"}))
            assert not stays(await client.get("/healthz"))


def scope_of(kind: str, host: str | None) -> Scope:
    headers = [] if host is None else [(b"host", host.encode())]
    return {"type": kind, "method": "GET", "path": "/healthz", "query_string": b"", "headers": headers}


async def _receive() -> Message:
    return {"type": "http.disconnect"}


def _into(sent: list[Message]) -> Send:
    async def send(message: Message) -> None:
        sent.append(message)

    return send
