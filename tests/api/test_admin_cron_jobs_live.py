"""Live topics over a real server: who may listen, for how long, and what is told."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import pytest_asyncio
import uvicorn
import websockets

from mainspring import Mainspring
from mainspring.api.app import create_api
from mainspring.control.access import AccessChanges
from mainspring.domain.access import Actor, Role
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from datetime import datetime

    from fastapi import FastAPI

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET_KEY = "the secret key of the tests, 32 bytes"
PATH = "/admin/cron-jobs"
ALL = ["alerts", "nodes", "queues", "runs", "schedules", "stats"]


class _Server(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class Clock(RealWorld):
    """A world whose clock a test moves on."""

    seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)


@dataclass(slots=True)
class Station:
    """A served application, and who listens."""

    app: Mainspring
    api: FastAPI
    port: int
    clock: Clock

    def token(self, user: str = "watcher", role: Role = Role.VIEWER, organization: str | None = None) -> str:
        return self.api.state.services.identity.tokens.create(user, role=role, organization_id=organization)

    def connect(self, query: str = "", **options: Any) -> websockets.connect:
        return websockets.connect(f"ws://127.0.0.1:{self.port}{PATH}/ws{query}", **options)

    def connect_as(self, token: str, query: str = "", **headers: str) -> websockets.connect:
        return self.connect(query, additional_headers={"Authorization": f"Bearer {token}", **headers})

    async def ticket(self, token: str | None = None) -> str:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            headers = {"Authorization": f"Bearer {token or self.token()}"}
            answer = await client.post(f"{PATH}/ws-ticket", headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()["ticket"]

    async def refusal(self, connection: websockets.connect) -> tuple[int, str]:
        """Return the status and the code by which a handshake is refused."""
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connection
        answer = refused.value.response
        return answer.status_code, json.loads(answer.body or b"{}")["code"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def station() -> AsyncIterator[Station]:
    """One application for this module, at a free port."""
    clock = Clock()
    app = Mainspring(database_url="sqlite://", secret_key=SECRET_KEY, world=clock)

    @app.job("sweep")
    async def _sweep() -> None: ...

    api = create_api(app)
    async with api.router.lifespan_context(api):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            server = _Server(uvicorn.Config(api, lifespan="off", log_config=None, access_log=False))
            running = clock.spawn(server.serve(sockets=[listener]), name="server of live tests")
            while not server.started:
                await clock.sleep(0.005)
            yield Station(app, api, listener.getsockname()[1], clock)
            api.state.draining = server.should_exit = True
            await running


async def heard(connection: Any) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(connection.recv(), 10))


async def end_of(connection: Any) -> tuple[int, str]:
    """Return with which code and why a server closes a socket."""
    async with asyncio.timeout(30):
        with suppress(websockets.ConnectionClosed):
            while True:
                await heard(connection)
    return connection.close_code, connection.close_reason


async def test_a_socket_tells_all_at_first_and_then_what_changes(station: Station) -> None:
    async with station.connect_as(station.token(), "?topics=runs,alerts") as connection:
        assert await heard(connection) == {"event": "resync", "topics": ["alerts", "runs"]}
        await station.app.enqueue("sweep")
        assert await heard(connection) == {"event": "changed", "topics": ["runs"]}
        await connection.send('{"topics": ["nodes"]}')
        assert await heard(connection) == {"event": "changed", "topics": ["nodes"]}


async def test_a_ticket_opens_one_socket(station: Station) -> None:
    ticket = await station.ticket()
    async with station.connect(f"?ticket={ticket}") as connection:
        assert await heard(connection) == {"event": "resync", "topics": ALL}
    assert await station.refusal(station.connect(f"?ticket={ticket}")) == (401, "TICKET_INVALID")


async def test_a_ticket_holds_on_another_node_and_thirty_seconds(station: Station) -> None:
    other = create_api(station.app)
    async with other.router.lifespan_context(other):
        station.clock.seconds += 29
        issued = await station.ticket()
        async with station.connect(f"?ticket={issued}"):
            pass
        late = await station.ticket()
        station.clock.seconds += 31
        assert await station.refusal(station.connect(f"?ticket={late}")) == (401, "TICKET_INVALID")
    station.clock.seconds = 0


@pytest.mark.parametrize("forged", ["", "x", "x.y", "e30.e30", "\u00e9.e30"])
async def test_a_forged_ticket_opens_nothing(station: Station, forged: str) -> None:
    assert await station.refusal(station.connect(f"?ticket={forged}")) == (401, "TICKET_INVALID")


async def test_a_socket_is_for_the_staff_of_the_platform(station: Station) -> None:
    for token, expected in (
        (station.token("ada", Role.ADMIN, "acme"), (403, "PERMISSION_DENIED")),
        (station.token("bob", Role.MEMBER), (403, "PERMISSION_DENIED")),
        ("nonsense", (401, "TOKEN_MALFORMED")),
    ):
        assert await station.refusal(station.connect_as(token)) == expected
    assert await station.refusal(station.connect()) == (401, "AUTHENTICATION_REQUIRED")


async def test_a_page_of_another_site_may_not_listen(station: Station) -> None:
    token = station.token()
    refused = station.connect_as(token, Origin="https://evil.example")
    assert await station.refusal(refused) == (403, "PERMISSION_DENIED")
    async with station.connect_as(token, Origin=f"http://127.0.0.1:{station.port}") as connection:
        assert (await heard(connection))["event"] == "resync"


async def test_a_page_of_another_site_may_not_read_the_events_either(station: Station) -> None:
    headers = {"Authorization": f"Bearer {station.token()}"}
    address = f"http://127.0.0.1:{station.port}{PATH}/events"
    async with httpx2.AsyncClient(timeout=10) as client:
        for foreign in ("https://evil.example", "null"):
            async with client.stream("GET", address, headers={**headers, "Origin": foreign}) as answer:
                assert answer.status_code == 403
                assert json.loads(await answer.aread())["code"] == "PERMISSION_DENIED"
        own = {**headers, "Origin": f"http://127.0.0.1:{station.port}"}
        async with client.stream("GET", address, headers=own) as answer:
            assert answer.status_code == 200


async def test_an_unknown_topic_is_refused(station: Station) -> None:
    connection = station.connect_as(station.token(), "?topics=runs,weather")
    assert await station.refusal(connection) == (422, "INVALID_REQUEST")


@pytest.mark.parametrize("message", ["nonsense", "[]", '{"topics": 1}', '{"topics": ["weather"]}'])
async def test_a_message_that_nobody_understands_ends_the_socket(station: Station, message: str) -> None:
    async with station.connect_as(station.token()) as connection:
        await connection.send(message)
        code, _reason = await end_of(connection)
        assert code == 1008


async def test_a_right_that_is_taken_away_ends_the_socket(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.live.turns.CHECK_SECONDS", 0.02)
    services = station.api.state.services
    async with station.connect_as(station.token("leaver")) as connection:
        await heard(connection)
        changes = AccessChanges(services.database, services.audit, forget=services.identity.forget)
        await changes.revoke_tokens_of(Actor.at_terminal("dev", "root"), "leaver")
        assert await end_of(connection) == (1008, "TOKEN_REVOKED")


async def test_a_right_that_is_taken_away_ends_the_events_too(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.live.turns.CHECK_SECONDS", 0.02)
    services = station.api.state.services
    headers = {"Authorization": f"Bearer {station.token('goer')}"}
    address = f"http://127.0.0.1:{station.port}{PATH}/events?topics=runs"
    async with httpx2.AsyncClient() as client, client.stream("GET", address, headers=headers) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines)
        changes = AccessChanges(services.database, services.audit, forget=services.identity.forget)
        await changes.revoke_tokens_of(Actor.at_terminal("dev", "root"), "goer")
        async with asyncio.timeout(30):
            told = [line async for line in lines]
    assert "event: close" in told
    assert any("TOKEN_REVOKED" in line for line in told)


async def test_who_goes_away_is_let_go_at_once(station: Station) -> None:
    streams = station.api.state.open_streams
    await none_left(station)  # of the tests before this one, with which it shares the station
    async with station.connect_as(station.token()) as connection:
        await heard(connection)
        assert len(streams) == 1
    await none_left(station)


async def none_left(station: Station) -> None:
    async with asyncio.timeout(15):
        while len(station.api.state.open_streams):
            await station.clock.sleep(0.005)


async def test_the_same_is_told_by_server_sent_events(station: Station) -> None:
    headers = {"Authorization": f"Bearer {station.token()}"}
    address = f"http://127.0.0.1:{station.port}{PATH}/events?topics=runs"
    async with httpx2.AsyncClient() as client, client.stream("GET", address, headers=headers) as answer:
        lines = answer.aiter_lines()
        told: list[str] = []
        async with asyncio.timeout(30):
            while len(told) < 2:
                line = await anext(lines)
                if line.startswith("event: "):
                    told.append(line.removeprefix("event: "))
                    if told == ["resync"]:
                        await station.app.enqueue("sweep")
    assert told == ["resync", "changed"]
