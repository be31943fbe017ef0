"""`/admin/cron-jobs/ws` and `/events`: which topics change, as they change, by WebSocket or Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import ExitStack, aclosing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.datastructures import State
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from mainspring.api.admin_cron_jobs_paths import CRON_JOBS_PATH, Reader
from mainspring.api.event_stream import HEARTBEAT, MEDIA_TYPE, Event, EventStreamResponse, reconnect_after
from mainspring.api.faults import Fault
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import InvalidRequestError, NotReadyError, documented
from mainspring.api.rate_limit import TooManyRequestsError
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices, Services
from mainspring.domain.access import Actor, Origin, Permission
from mainspring.domain.instants import instant_text
from mainspring.domain.topics import Topic, is_of_run
from mainspring.errors import MainspringError, PermissionDeniedError, StoreError
from mainspring.live.hub import MOST_TOPICS
from mainspring.live.turns import SLOWEST_READER_SECONDS, turns
from mainspring.security.audit import Target
from mainspring.security.authentication import AuthenticationError
from mainspring.security.secret_key import Purpose
from mainspring.security.tickets import Tickets

if TYPE_CHECKING:
    from mainspring.live.hub import Listener

router = APIRouter(prefix=CRON_JOBS_PATH, tags=["Cron jobs"], dependencies=[only_known_parameters])
sockets = APIRouter(prefix=CRON_JOBS_PATH)

_ACTION: Final = "live.watch"
_COME_BACK: Final = timedelta(seconds=2)
_LONGEST_MESSAGE: Final = 10_000
_POLICY_VIOLATION, _SERVICE_RESTART, _TRY_AGAIN_LATER = 1008, 1012, 1013
"""Why a socket was closed (RFC 6455 §7.4.1 and its registry)."""
_STATUSES: Final = (
    (AuthenticationError, 401),
    (PermissionDeniedError, 403),
    (TooManyRequestsError, 429),
    (InvalidRequestError, 422),
)
_UNAVAILABLE: Final = 503

Topics = Annotated[
    str | None,
    Query(
        max_length=_LONGEST_MESSAGE,
        description="Which topics, with commas between them: `runs schedules nodes queues alerts stats`, and "
        "`run:{id}` for a single run. By default all six.",
    ),
]


class WsTicket(BaseModel):
    """What opens one WebSocket: `/admin/cron-jobs/ws?ticket=…`."""

    model_config = ConfigDict(alias_generator=to_camel)

    ticket: str
    expires_at: datetime


_EVENT: Final = {
    "type": "object",
    "properties": {"event": {"enum": ["resync", "changed", "close"]}, "data": {"type": "string"}},
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "`resync` at first, with all topics; then `changed`, with those that have changed.",
        "content": {MEDIA_TYPE: {"schema": _EVENT}},
    },
}


@router.post("/ws-ticket", response_class=Response, responses={200: {"model": WsTicket}, **documented(422)})
async def create_ws_ticket(services: CurrentServices, actor: Reader) -> Response:
    """Get what opens one WebSocket within 30 seconds, on any node."""
    ticket, ends_at = _tickets(services).issue(actor)
    return json_response({"ticket": ticket, "expiresAt": instant_text(ends_at)})


def _asked_by_own_page(request: Request, services: CurrentServices) -> None:
    _require_own_page(request, services)


async def _one_of_the_open_streams(request: Request, actor: Reader) -> AsyncGenerator[None]:
    """Count the stream for as long as its answer goes on."""
    with request.app.state.open_streams.one_more(actor):
        yield


@router.get(
    "/events",
    response_class=Response,
    responses={**_ANSWERS, **documented(422, TooManyRequestsError)},
    dependencies=[Depends(_asked_by_own_page), Depends(_one_of_the_open_streams)],
)
async def follow_topics(request: Request, services: CurrentServices, actor: Reader, topics: Topics = None) -> Response:
    """Follow topics by Server-Sent Events: what has changed, never the data."""
    watched = _topics(topics)
    if request.app.state.draining:
        raise NotReadyError("this node is stopping: ask another one")
    return EventStreamResponse(_pieces(request, services, actor, watched))


async def _pieces(
    request: Request, services: Services, actor: Actor, watched: Collection[str]
) -> AsyncGenerator[bytes]:
    state = request.app.state
    with state.live_hub.listening(watched) as listener:
        yield reconnect_after(_COME_BACK)
        told = _turns(state, services, actor, listener)
        is_first = True
        try:
            async with aclosing(told):
                async for changed in told:
                    yield _event(changed, is_first=is_first).encode() if changed else HEARTBEAT
                    is_first = False
        except AuthenticationError as refusal:
            yield Event("close", {"code": refusal.code, "detail": str(refusal)}).encode()
        except StoreError:
            return


@sockets.websocket("/ws")
async def follow_topics_by_socket(
    websocket: WebSocket, ticket: str | None = None, topics: Annotated[str | None, Query()] = None
) -> None:
    """Follow topics by a WebSocket: what has changed, never the data.

    A message `{"topics": […]}` of the client replaces what is watched.
    """
    services: Services = websocket.app.state.services
    with ExitStack() as held:
        try:
            watched = _topics(topics)
            actor = await _admitted(websocket, services, ticket)
            held.enter_context(websocket.app.state.open_streams.one_more(actor))
        except MainspringError as refusal:
            await _refuse(websocket, refusal)
            return
        listener = held.enter_context(websocket.app.state.live_hub.listening(watched))
        await websocket.accept()
        await _converse(websocket, services, actor, listener)


async def _admitted(websocket: WebSocket, services: Services, ticket: str | None) -> Actor:
    """Return who may listen.

    Raises:
        AuthenticationError: Nobody knows who it is.
        PermissionDeniedError: It may not read the settings, belongs to an organization, or asks from a foreign page.
        TooManyRequestsError: It asks more often than is taken.
        NotReadyError: The node is stopping.
    """
    if websocket.app.state.draining:
        raise NotReadyError("this node is stopping: ask another one")
    _require_own_page(websocket, services)
    peer = websocket.client.host if websocket.client else None
    address = services.proxies.client_of(peer, websocket.headers.getlist("x-forwarded-for"))
    origin = Origin(request_id=str(services.app.world.new_id()), address=address)
    try:
        actor = await _identified(websocket, services, ticket, origin)
    except AuthenticationError:
        services.rate_limits.admit_stranger(address)
        raise
    services.rate_limits.admit(actor)
    target = Target("path", websocket.url.path)
    if actor.organization_id is not None:
        refusal = f"{actor.subject!r} may not come here: this is for the staff of the platform"
        await services.audit.deny(actor, _ACTION, target, PermissionDeniedError(refusal))
    await services.audit.require(actor, Permission.READ_ADMIN_SETTINGS, _ACTION, target)
    return actor


async def _identified(websocket: WebSocket, services: Services, ticket: str | None, origin: Origin) -> Actor:
    if ticket is not None:
        actor = await _tickets(services).take(ticket, origin)
        await services.identity.check(actor)
        return actor
    kind, _, credential = websocket.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not credential:
        raise AuthenticationError(
            "send the header `Authorization: Bearer …`, or `?ticket=…` with what `POST /admin/cron-jobs/ws-ticket` "
            "gives"
        )
    return await services.identity.actor_of(credential.strip(), origin)


def _require_own_page(asked: HTTPConnection, services: Services) -> None:
    """Refuse a page of another site: a browser says where a page comes from, and programs say nothing.

    Raises:
        PermissionDeniedError: The page is another site's.
    """
    page = asked.headers.get("origin")
    if page is None:
        return
    places = {asked.headers.get("host", ""), urlsplit(services.app.settings.public_url or "").netloc}
    if not urlsplit(page).netloc or urlsplit(page).netloc not in places:
        raise PermissionDeniedError(f"a page of {page} may not listen here: only this server's own pages may")


async def _refuse(websocket: WebSocket, refusal: MainspringError) -> None:
    status = next((status for kind, status in _STATUSES if isinstance(refusal, kind)), _UNAVAILABLE)
    body = {"type": "about:blank", "status": status, "detail": str(refusal), "code": refusal.code}
    answer = Response(orjson.dumps(body), status_code=status, media_type="application/problem+json")
    await websocket.send_denial_response(answer)


async def _converse(websocket: WebSocket, services: Services, actor: Actor, listener: Listener) -> None:
    hearing = services.app.world.spawn(_hear(websocket, listener), name="mainspring-live-hearing")
    told = _turns(websocket.app.state, services, actor, listener)
    is_first, code, reason = True, _SERVICE_RESTART, "this node is stopping"
    try:
        async with aclosing(told):
            async for changed in told:
                async with asyncio.timeout(SLOWEST_READER_SECONDS):
                    await websocket.send_json(_message(changed, is_first=is_first))
                is_first = False
    except TimeoutError:
        code, reason = _TRY_AGAIN_LATER, "you read too slowly: come back and read everything anew"
    except AuthenticationError as refusal:
        code, reason = _POLICY_VIOLATION, refusal.code
    except StoreError:
        code, reason = _TRY_AGAIN_LATER, "the database does not answer"
    except (WebSocketDisconnect, RuntimeError):  # it went away while something was sent
        return
    finally:
        hearing.cancel()
    await _close(websocket, hearing, code, reason)


async def _close(websocket: WebSocket, hearing: asyncio.Task[str | None], code: int, reason: str) -> None:
    if hearing.done() and not hearing.cancelled():
        problem = hearing.result()
        if problem is None:  # the client has closed it
            return
        code, reason = _POLICY_VIOLATION, problem
    try:
        async with asyncio.timeout(SLOWEST_READER_SECONDS):
            await websocket.close(code, reason)
    except (TimeoutError, RuntimeError):
        return


async def _hear(websocket: WebSocket, listener: Listener) -> str | None:
    """Let the client change what it watches, until it goes away (None) or sends what nobody understands."""
    try:
        while True:
            text = await websocket.receive_text()
            if len(text) > _LONGEST_MESSAGE:
                return "the message is too long"
            asked: Any = orjson.loads(text)
            listener.watch(_topics(",".join(asked["topics"])))
    except WebSocketDisconnect:
        return None
    except InvalidRequestError as fault:
        return str(fault)[:100]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 'send {"topics": ["runs"]}, or nothing'
    finally:
        listener.leave()


def _turns(state: State, services: Services, actor: Actor, listener: Listener) -> AsyncGenerator[frozenset[str]]:
    return turns(
        listener,
        may_go_on=lambda: services.identity.check(actor),
        is_ending=lambda: state.draining,
        world=services.app.world,
    )


def _message(changed: Collection[str], *, is_first: bool) -> dict[str, Any]:
    event = "resync" if is_first else "changed" if changed else "heartbeat"
    return {"event": event, "topics": sorted(changed)}


def _event(changed: Collection[str], *, is_first: bool) -> Event:
    return Event("resync" if is_first else "changed", {"topics": sorted(changed)})


def _topics(text: str | None) -> frozenset[str]:
    """Return the topics that a text names.

    Raises:
        InvalidRequestError: It names another one, or too many.
    """
    names = [topic.value for topic in Topic] if not text else text.split(",")
    unknown = next((name for name in names if not _is_topic(name)), None)
    if unknown is not None:
        raise InvalidRequestError([Fault("topics", f"{unknown[:50]!r} is none of {', '.join(Topic)}, run:{{id}}")])
    if len(names) > MOST_TOPICS:
        raise InvalidRequestError([Fault("topics", f"there are {len(names)}, and at most {MOST_TOPICS} are told")])
    return frozenset(names)


def _is_topic(name: str) -> bool:
    if not is_of_run(name):
        return name in set(Topic)
    try:
        return str(UUID(name.partition(":")[2])) == name.partition(":")[2]
    except ValueError:
        return False


def _tickets(services: Services) -> Tickets:
    return Tickets(services.database, services.secret_keys[0].derive(Purpose.TICKET), services.app.world)
