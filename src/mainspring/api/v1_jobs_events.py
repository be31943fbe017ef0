"""`/v1/jobs/{id}/events`: what happens to a job, as it happens, told by any node and from any event on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response

from mainspring.api.event_stream import HEARTBEAT, MEDIA_TYPE, Event, EventStreamResponse, reconnect_after
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import NotReadyError, documented
from mainspring.api.services import CurrentServices
from mainspring.api.v1_jobs_lookup import JOBS_PATH, JobId, Viewer, visible_job
from mainspring.api.v1_jobs_news import JobNews, Place
from mainspring.errors import ExecutionNotFoundError, MainspringError, StoreError
from mainspring.security.authentication import AuthenticationError

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.api.job_feed import Watch
    from mainspring.api.services import Services
    from mainspring.domain.access import Actor

router = APIRouter(prefix=JOBS_PATH, tags=["On-demand jobs"], dependencies=[only_known_parameters])

HEARTBEAT_SECONDS: Final = 15.0
CHECK_SECONDS: Final = 3.0
"""Between two questions whether the credential still holds. What is known of revocations is at most 5 s old, and the
feed gives a turn at least every 1.4 s: together less than the ten seconds in which a revocation must be felt."""
_COME_BACK: Final = timedelta(seconds=2)
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"enum": ["status", "progress", "log", "end"]},
        "id": {"type": "string"},
        "data": {"type": "string", "description": "JSON."},
    },
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events `status`, `progress`, `log` and `end`, each with data in JSON.",
        "content": {MEDIA_TYPE: {"schema": _EVENT}},
    },
    204: {"description": "You have heard the `end` of this job: there is nothing to come back for."},
}


async def _one_of_the_open_streams(request: Request, actor: Viewer) -> AsyncGenerator[None]:
    """Count the stream for as long as its answer goes on."""
    with request.app.state.open_streams.one_more(actor):
        yield


@router.get(
    "/{job_id}/events",
    response_class=Response,
    responses={**_ANSWERS, **documented(404, 422)},
    dependencies=[Depends(_one_of_the_open_streams)],
)
async def follow_job(
    request: Request,
    services: CurrentServices,
    actor: Viewer,
    job_id: JobId,
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event that you have: the stream goes on after it.")
    ] = None,
) -> Response:
    """Follow a job until it has ended, by Server-Sent Events."""
    if request.app.state.draining:
        raise NotReadyError("this node is stopping: ask another one")
    execution = await visible_job(services, actor, job_id)
    place = Place.of(last_event_id)
    if place.is_end_of(execution):
        return Response(status_code=204)  # tells EventSource not to come back (HTML Living Standard §9.2.5)
    stream = JobStream(request, services, actor, JobNews(services, actor, job_id, place))
    return EventStreamResponse(stream.pieces(execution.id))


class JobStream:
    """One open stream.

    Args:
        request: What it answers.
        services: Who says whether the actor may go on, and the clock.
        actor: Who listens.
        news: What there is to tell.
    """

    def __init__(self, request: Request, services: Services, actor: Actor, news: JobNews) -> None:
        self._state = request.app.state
        self._identity = services.identity
        self._world = services.app.world
        self._actor = actor
        self._news = news
        self._checked_at = self._spoke_at = self._world.monotonic()

    async def pieces(self, execution_id: UUID) -> AsyncGenerator[bytes]:
        """Return what is sent, until the job has ended or the client may not listen any longer."""
        with self._state.job_feed.watching(execution_id) as watch:
            yield reconnect_after(_COME_BACK)
            try:
                async for piece in self._followed(watch):
                    self._spoke_at = self._world.monotonic()
                    yield piece
            except (AuthenticationError, ExecutionNotFoundError) as refusal:
                yield _closing(refusal)
            except StoreError:
                yield reconnect_after(self._some_time())

    async def _followed(self, watch: Watch) -> AsyncGenerator[bytes]:
        has_news = True
        while not self._news.has_ended:
            if self._state.draining:
                yield reconnect_after(self._some_time())
                return
            await self._check_credential()
            if has_news:
                for event in await self._news.read():
                    yield event.encode()
            elif self._world.monotonic() - self._spoke_at >= HEARTBEAT_SECONDS:
                yield HEARTBEAT
            if not self._news.has_more and not self._news.has_ended:
                has_news = await watch.next_turn()

    async def _check_credential(self) -> None:
        now = self._world.monotonic()
        if now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            await self._identity.check(self._actor)

    def _some_time(self) -> timedelta:
        """Return a pause that differs, so that the clients of a node that stops do not all come back at once."""
        return _COME_BACK * (0.5 + self._world.random())


def _closing(refusal: MainspringError) -> bytes:
    detail = "there is no such job any more" if isinstance(refusal, ExecutionNotFoundError) else str(refusal)
    return Event("close", {"code": refusal.code, "detail": detail}).encode()
