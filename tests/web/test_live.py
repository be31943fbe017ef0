"""The socket of the dashboard: who may open it, what it tells, and when it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest

from mainspring.domain.access import Role
from mainspring.errors import StoreError
from mainspring.live import turns
from mainspring.security.authentication import AuthenticationError
from mainspring.web import live
from mainspring.web.cookies import SESSION_COOKIE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    import httpx2

    from mainspring import JobContext, Mainspring
    from tests.web.conftest import Site

HERE: Final = "http://localhost"
ACCEPTED: Final = "websocket.accept"


class Socket:
    """A WebSocket without a network.

    Args:
        site: Whose `/live` is opened.
        cookie: The session, if there is one.
        origin: The page that opens it.
    """

    def __init__(self, site: Site, cookie: str | None, origin: str | None = HERE) -> None:
        headers = [(b"host", b"localhost")]
        headers += [(b"origin", origin.encode())] if origin is not None else []
        headers += [(b"cookie", f"{SESSION_COOKIE}={cookie}".encode())] if cookie is not None else []
        scope = {"type": "websocket", "path": "/ui/live", "root_path": "", "headers": headers, "query_string": b""}
        scope |= {"scheme": "ws", "subprotocols": [], "client": ("127.0.0.1", 1), "server": ("localhost", 80)}
        self._sent: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._received.put_nowait({"type": "websocket.connect"})
        served = site.host(scope, self._received.get, self._sent.put)
        self._running = site.app.world.spawn(served, name="socket under test")  # pyright: ignore[reportArgumentType]

    async def asks_for(self, *topics: str) -> None:
        """Say which topics are watched."""
        await self._received.put({"type": "websocket.receive", "text": orjson.dumps({"topics": topics}).decode()})

    async def hears(self) -> MutableMapping[str, Any]:
        """Return the next message of the server."""
        async with asyncio.timeout(10):
            return await self._sent.get()

    async def told(self) -> set[str]:
        """Return the topics that the next message names."""
        return set(orjson.loads((await self.hears())["text"])["topics"])

    async def leave(self) -> None:
        """Go away."""
        await self._received.put({"type": "websocket.disconnect", "code": 1001})
        self._running.cancel()
        await asyncio.wait({self._running})


@pytest.fixture
async def session(site: Site) -> str:
    """The session of an admin of the platform."""
    return await session_of(await site.client())


async def session_of(client: httpx2.AsyncClient) -> str:
    """Return the session that a browser holds."""
    return str(client.cookies[SESSION_COOKIE])


@pytest.fixture(autouse=True)
def _asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "CHECK_SECONDS", 0.05)


@pytest.fixture
async def socket_of(site: Site) -> AsyncIterator[Any]:
    """Opens sockets, which leave when the test ends."""
    opened: list[Socket] = []

    def open_socket(*args: str | None) -> Socket:
        opened.append(Socket(site, *args))
        return opened[-1]

    yield open_socket
    for socket in opened:
        await socket.leave()


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", None])
async def test_a_page_of_another_site_gets_no_socket(socket_of: Any, session: str, origin: str | None) -> None:
    assert (await socket_of(session, origin).hears())["type"] == "websocket.close"


@pytest.mark.parametrize("cookie", [None, "guessed"])
async def test_without_a_session_there_is_no_socket(socket_of: Any, cookie: str | None) -> None:
    assert (await socket_of(cookie).hears())["type"] == "websocket.close"


async def test_what_is_watched_is_told_at_first_and_what_is_unknown_never(socket_of: Any, session: str) -> None:
    socket = socket_of(session)
    assert (await socket.hears())["type"] == ACCEPTED
    await socket.asks_for("runs", "stats", "secrets", "run:not-an-id")
    assert await socket.told() == {"runs", "stats"}


async def test_an_organization_hears_of_runs_alone_and_of_its_own_single_ones(site: Site, socket_of: Any) -> None:
    foreign = await a_run(site.app)
    socket = socket_of(await session_of(await site.client("eve", Role.ADMIN, "acme")))
    assert (await socket.hears())["type"] == ACCEPTED
    await socket.asks_for("runs", "nodes", "queues", "alerts", "schedules", "stats", f"run:{foreign}")
    assert await socket.told() == {"runs"}


async def test_staff_may_watch_a_single_run(site: Site, socket_of: Any, session: str) -> None:
    run = await a_run(site.app)
    socket = socket_of(session)
    assert (await socket.hears())["type"] == ACCEPTED
    await socket.asks_for(f"run:{run}")
    assert await socket.told() == {f"run:{run}"}


async def test_the_end_of_the_session_ends_the_socket(site: Site, socket_of: Any, session: str) -> None:
    socket = socket_of(session)
    assert (await socket.hears())["type"] == ACCEPTED
    await socket.asks_for("runs")
    await socket.told()
    await site.services.opened.database.tx(lambda connection: site.services.sessions.end(connection, session))
    ended = await socket.hears()
    assert (ended["type"], ended["code"]) == ("websocket.close", 1008)


@pytest.mark.parametrize("why", [AuthenticationError("the session is over"), StoreError("nobody can say")])
async def test_the_events_of_who_may_listen_no_longer_end_in_good_order(
    site: Site, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    async def told_once(*_: object, **__: object) -> AsyncIterator[frozenset[str]]:
        yield frozenset({"runs"})
        raise why

    monkeypatch.setattr(live, "turns", told_once)
    answer = await (await site.client()).get("/live/events", params={"topics": "runs"})
    assert (answer.status_code, answer.text) == (200, 'data: {"event":"changed","topics":["runs"]}\n\n')


async def test_a_stopping_node_sends_its_pages_to_another_one(site: Site, socket_of: Any, session: str) -> None:
    socket = socket_of(session)
    assert (await socket.hears())["type"] == ACCEPTED
    await socket.asks_for("runs")
    await socket.told()
    site.pages.state.draining = True
    assert (await socket.hears())["code"] == 1012


async def a_run(app: Mainspring) -> str:
    """Ask for an execution of the platform, and return its id."""

    @app.job("tidy")
    async def _tidy(ctx: JobContext[None]) -> None: ...

    return str((await app.enqueue("tidy")).id)
