"""Jobs behind a real socket: a caller that goes away stops nothing, and the self-check asks the API of its process."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from mainspring.api.services import Services
from mainspring.cli.serving import serving
from mainspring.domain.access import Role
from mainspring.domain.execution import Status
from mainspring.security.secret_key import secret_key_in_force
from mainspring.store.runs import executions
from mainspring.store.runs.executions import Filter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mainspring import Mainspring
    from mainspring.domain.execution import Execution


class Server:
    """An application that serves and works in this process."""

    def __init__(self, app: Mainspring, url: str) -> None:
        self.app = app
        self.port = urlsplit(url).port
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        services = Services.of(app, secret_key_in_force(app.settings, app.world))
        self._token = services.identity.tokens.create("olga", role=Role.OPERATOR)
        services.egress.close()

    async def ask(self, method: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request by a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n"
        writer.write(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return reader, writer

    async def answer(self, method: str, path: str) -> Any:
        """Send a request, and return the body of the answer."""
        reader, writer = await self.ask(method, path)
        _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return json.loads(body)

    async def only_run(self) -> Execution:
        """Return the one run that there is."""
        commands, actor = self.app.commands_and_actor()
        [found] = await self.app.opened.database.read(
            lambda connection: executions.find(connection, actor.scope, Filter(), most=10)
        )
        return await commands.get(actor.scope, found.id)


@pytest.fixture
async def server(app: Mainspring) -> AsyncGenerator[Server]:
    """A node with its API, of which one job waits for the test."""
    made: list[Server] = []

    @app.job("held")
    async def _held() -> str:
        [server] = made
        server.began.set()
        await server.may_end.wait()
        return "done"

    async with serving(app, host="127.0.0.1", port=0, roles=("api", "worker")) as served:
        assert served.url is not None
        made.append(server := Server(app, served.url))
        yield server
        server.may_end.set()


async def test_a_closed_connection_does_not_cancel_the_job(server: Server) -> None:
    _, writer = await server.ask("POST", "/jobs/held/run?wait=60")
    await server.began.wait()
    writer.transport.abort()  # the caller is gone, in the middle of the wait
    assert (await server.answer("GET", "/healthz"))["status"] == "ok"  # the server has noticed, and goes on
    run = await server.only_run()
    assert (run.status, run.cancel_requested) == (Status.RUNNING, False)
    server.may_end.set()
    while not (run := await server.only_run()).status.is_final:
        pass
    assert (run.status, run.result, run.attempt) == (Status.SUCCEEDED, "done", 1)
    found = await server.answer("GET", f"/jobs/executions/{run.id}")
    assert (found["status"], found["result"]) == ("COMPLETED", "done")


async def test_the_self_check_asks_the_api_of_its_process(server: Server) -> None:
    result = await server.answer("POST", "/admin/jobs/trigger/platform-self-check")
    assert result["data"]["summary"] == "Platform validation passed: 4/4 checks passed"
    validation = (await server.answer("GET", "/admin/jobs/platform-validation"))["data"]["result"]
    assert validation["summary"] | {"totalDurationMs": 0} == {
        "total": 4, "passed": 4, "failed": 0, "skipped": 0, "totalDurationMs": 0,
    }  # fmt: skip
    assert [script.keys() for script in validation["scripts"]] == [{"name", "status", "durationMs"}] * 4


async def test_an_application_that_serves_no_more_has_no_api_to_ask(app: Mainspring) -> None:
    async with serving(app, host="127.0.0.1", port=0, roles=("api",)) as served:
        assert app.deployment().api_url == served.url
    assert app.deployment().api_url is None
