"""Telling open pages what has changed: by a WebSocket, or by server-sent events where there is none."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, WebSocket
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from mainspring.domain.access import Origin, Permission
from mainspring.domain.topics import Topic, is_of_run, of_run
from mainspring.errors import StoreError
from mainspring.live.hub import MOST_TOPICS
from mainspring.live.turns import SLOWEST_READER_SECONDS, turns
from mainspring.security.authentication import AuthenticationError
from mainspring.store.runs import executions
from mainspring.web.cookies import SESSION_COOKIE
from mainspring.web.visit import Visit, services_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from mainspring.domain.access import Actor
    from mainspring.web.services import Services

router = APIRouter()

_POLICY_VIOLATION: Final = 1008
_TRY_AGAIN: Final = 1012
_HELLO_SECONDS: Final = 10.0


@router.websocket("/live")
async def live_socket(socket: WebSocket) -> None:
    """Tell which of the asked for topics change, for as long as the session holds."""
    services = services_of(socket)  # pyright: ignore[reportArgumentType] - it reads what both kinds of connection have
    if not _is_same_origin(socket):
        await socket.close(_POLICY_VIOLATION)
        return
    try:
        actor = await _actor_of(services, socket.cookies.get(SESSION_COOKIE, ""))
    except AuthenticationError:
        await socket.close(_POLICY_VIOLATION)
        return
    await socket.accept()
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            asked = orjson.loads(await socket.receive_text()).get("topics", ())
        topics = await _open_to(services, actor, asked)
        with services.hub.listening(topics) as listener:
            async for changed in turns(
                listener,
                may_go_on=lambda: _still(services, actor),
                is_ending=lambda: socket.app.state.draining,
                world=services.app.world,
            ):
                async with asyncio.timeout(SLOWEST_READER_SECONDS):
                    await socket.send_text(_told(changed))
        await socket.close(_TRY_AGAIN)
    except AuthenticationError:
        await socket.close(_POLICY_VIOLATION)
    except (TimeoutError, WebSocketDisconnect, RuntimeError, ValueError, AttributeError):
        return  # it has gone, reads too slowly, or speaks another language; its page asks again


@router.get("/live/events")
async def live_events(request: Request, visit: Visit, topics: str = "") -> StreamingResponse:
    """Tell the same as server-sent events."""
    open_topics = await _open_to(visit.services, visit.actor, topics.split(","))

    async def lines() -> AsyncGenerator[str]:
        # Its status is sent: whoever may listen no longer, or cannot be asked, learns why when its page asks again.
        with suppress(AuthenticationError, StoreError), visit.services.hub.listening(open_topics) as listener:
            async for changed in turns(
                listener,
                may_go_on=lambda: _still(visit.services, visit.actor),
                is_ending=lambda: request.app.state.draining,
                world=visit.services.app.world,
            ):
                yield f"data: {_told(changed)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


def _told(changed: Collection[str]) -> str:
    return orjson.dumps({"event": "changed" if changed else "heartbeat", "topics": sorted(changed)}).decode()


async def _open_to(services: Services, actor: Actor, topics: Collection[str]) -> set[str]:
    """Return those of the topics that an actor may listen to; of single executions those that it sees."""
    asked = {str(topic) for topic in list(topics)[:MOST_TOPICS]}
    if not actor.may(Permission.VIEW_JOBS):
        return set()
    is_staff = actor.organization_id is None and actor.may(Permission.READ_ADMIN_SETTINGS)
    found = asked & ({topic.value for topic in Topic} if is_staff else {Topic.RUNS.value})
    runs = {run_id for topic in asked if is_of_run(topic) and (run_id := _run_of(topic)) is not None}
    seen = await services.opened.database.read(
        lambda connection: [run_id for run_id in runs if executions.get(connection, actor.scope, run_id) is not None]
    )
    return found | {of_run(run_id) for run_id in seen}


def _run_of(topic: str) -> UUID | None:
    try:
        return UUID(topic.partition(":")[2])
    except ValueError:
        return None


def _is_same_origin(socket: WebSocket) -> bool:
    """A page of another site may open a socket to us, and its browser sends our cookie along (RFC 6455 §10.2)."""
    origin = socket.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == socket.headers.get("host")


async def _actor_of(services: Services, session_id: str) -> Actor:
    return await services.sessions.actor_of(session_id, Origin())


async def _still(services: Services, actor: Actor) -> None:
    if actor.credential is not None:
        await services.sessions.check(actor.credential)
