"""What a service answers to its scheduler, whatever web framework carries it: verified, bounded, and never twice."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.webhook_signature import read_headers, verify
from mainspring.domain.write_door import json_text
from mainspring.errors import JobNotFoundError, LeaseLostError, MainspringError, WebhookSignatureError
from mainspring.remote import protocol
from mainspring.remote.message_fields import MalformedMessageError
from mainspring.remote.protocol import CallbackRequest
from mainspring.remote.served_attempts import EndedAttempt, ShuttingDownError
from mainspring.world import ends_within

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from mainspring.jobs.registry import JobRegistry
    from mainspring.remote.served_attempt import ServedAttempt
    from mainspring.remote.served_attempts import ServedAttempts
    from mainspring.world import World

_logger = logging.getLogger(__name__)

_EXECUTE: Final = re.compile(r"/api/jobs/([A-Za-z0-9._-]{1,200})/execute")
_RETRY_AFTER_SECONDS: Final = 5


class AlreadyAtWorkError(MainspringError):
    """The call came before, and what it started has not ended."""

    code = "JOB_ALREADY_RUNNING"


class CallTooLargeError(MainspringError):
    """The body is larger than any call of a scheduler."""

    code = "BODY_TOO_LARGE"


class CallTooSlowError(MainspringError):
    """The body did not come in the time that any call needs."""

    code = "BODY_TOO_SLOW"


class NotHereError(MainspringError):
    """There is nothing at this address."""

    code = "NOT_FOUND"


_STATUSES: Final[Mapping[type[MainspringError], HTTPStatus]] = {
    AlreadyAtWorkError: HTTPStatus.CONFLICT,
    CallTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    CallTooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    JobNotFoundError: HTTPStatus.NOT_FOUND,
    LeaseLostError: HTTPStatus.CONFLICT,
    MalformedMessageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotHereError: HTTPStatus.NOT_FOUND,
    ShuttingDownError: HTTPStatus.SERVICE_UNAVAILABLE,
    WebhookSignatureError: HTTPStatus.UNAUTHORIZED,
}


@dataclass(frozen=True, slots=True)
class Head:
    """A request before its body.

    Attributes:
        method: In capitals.
        path: Below the place where the service is mounted, decoded.
        headers: By name in lower case.
    """

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer for any web framework.

    Attributes:
        status: The HTTP status.
        body: JSON.
        content_type: Its media type.
        headers: Further ones.
    """

    status: HTTPStatus
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class ServiceEndpoint:
    """The two routes of a service: `POST /api/jobs/{name}/execute`, and `GET /healthz`.

    Args:
        attempts: What is started.
        registry: The jobs that there are.
        service: The service's name.
        secrets: What calls are signed with: one, or two while one replaces the other.
        world: The clock.
    """

    def __init__(
        self,
        attempts: ServedAttempts,
        registry: JobRegistry,
        *,
        service: str,
        secrets: Sequence[str],
        world: World,
    ) -> None:
        self._attempts = attempts
        self._registry = registry
        self._service = service
        self._secrets = secrets
        self._world = world

    @staticmethod
    def is_call(path: str) -> bool:
        """Whether a path is one that a scheduler calls, whatever the job."""
        return _EXECUTE.fullmatch(path) is not None

    def answer_to_head(self, head: Head) -> Reply | None:
        """Return the answer to a request whose body is not needed: one about health, or one that is refused.

        None: read the body, at most `protocol.MAX_MESSAGE_BYTES`, and go on with `answer_to_call`.
        """
        if head.path == protocol.HEALTH_PATH:
            return self._health() if head.method in {"GET", "HEAD"} else _wrong_method("GET, HEAD")
        if not self.is_call(head.path):
            return refusal(NotHereError("there is nothing at this address"))
        if head.method != "POST":
            return _wrong_method("POST")
        length = head.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > protocol.MAX_MESSAGE_BYTES:
            return too_large()
        try:
            read_headers(head.headers, self._world.now())
        except WebhookSignatureError as error:
            return self._refuse(error)
        return None

    async def answer_to_call(
        self, head: Head, body: bytes, *, within: float, hung_up: asyncio.Future[None] | None = None
    ) -> Reply:
        """Verify a call, start what it asks for, and answer how it ended, or that it goes on.

        Args:
            head: Its head, which was not refused.
            body: Its body, exactly as it came.
            within: Seconds that the answer may wait for the end of the work.
            hung_up: Done when nobody waits for the answer any more. The work is then told of by callbacks, whose
                answers say whether anybody still wants it; None: the server does not say.
        """
        try:
            return await self._answer(head, body, within, hung_up)
        except tuple(_STATUSES) as error:
            return self._refuse(error)

    async def _answer(self, head: Head, body: bytes, within: float, hung_up: asyncio.Future[None] | None) -> Reply:
        now = self._world.now()
        verify(self._secrets, head.headers, body, now)
        request = CallbackRequest.from_bytes(body)
        if head.path != f"/api/jobs/{request.job_name}/execute":
            raise MalformedMessageError(f"the address names another job than the body, which says {request.job_name!r}")
        known = self._attempts.find(request)
        if known is not None:
            return self._answer_again(known)
        # Counted from when the scheduler signed: two clocks that differ then change nothing.
        seconds = (request.deadline - read_headers(head.headers, now).signed_at).total_seconds()
        traceparent = head.headers.get(protocol.TRACEPARENT_HEADER)
        attempt = self._attempts.start(request, traceparent=traceparent, seconds=max(0.0, seconds))
        await ends_within(self._world, _first_of(attempt.ended, hung_up), within)
        if not attempt.ended.done():
            self._attempts.report(attempt)
            return Reply(HTTPStatus.ACCEPTED, b"{}")
        result = attempt.ended.result()
        if result is not None:
            return Reply(HTTPStatus.OK, result.to_bytes())
        raise LeaseLostError(f"a later attempt at execution {request.execution_id} has taken the place of this one")

    def _answer_again(self, known: ServedAttempt | EndedAttempt) -> Reply:
        """Answer a call that came before: the work is not started again, whoever asks."""
        if isinstance(known, EndedAttempt):
            if known.result is None:
                raise LeaseLostError("this attempt has ended, and there is nothing to tell of it")
            return Reply(HTTPStatus.OK, known.result)
        # Whoever waited for the answer to the first call may be gone: the end is told by a callback.
        self._attempts.report(known)
        raise AlreadyAtWorkError("this attempt is at work already; callbacks tell of it")

    def _health(self) -> Reply:
        draining = self._attempts.draining
        said = {
            "status": "draining" if draining else "ok",
            "service": self._service,
            "jobs": self._registry.names(),
            "running": len(self._attempts),
        }
        status = HTTPStatus.SERVICE_UNAVAILABLE if draining else HTTPStatus.OK
        return Reply(status, json_text(said).encode(), headers={"Cache-Control": "no-store"})

    def _refuse(self, error: MainspringError) -> Reply:
        if isinstance(error, WebhookSignatureError):
            _logger.warning("service %r refused a call: %s", self._service, error)
        return refusal(error)


def _first_of(ended: asyncio.Future[Any], hung_up: asyncio.Future[None] | None) -> asyncio.Future[Any]:
    """Return what is done when either is."""
    if hung_up is None:
        return ended
    first: asyncio.Future[None] = ended.get_loop().create_future()

    def tell(_: asyncio.Future[Any]) -> None:
        if not first.done():
            first.set_result(None)

    for either in (ended, hung_up):
        either.add_done_callback(tell)
    return first


def refusal(error: MainspringError) -> Reply:
    """Return the answer to a request that is refused."""
    status = _STATUSES[type(error)]
    retry = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return _problem(status, error.code, str(error), retry)


def too_large() -> Reply:
    """Return the answer to a body that is larger than any call."""
    return refusal(CallTooLargeError(f"a call has at most {protocol.MAX_MESSAGE_BYTES:,} bytes"))


def _wrong_method(allowed: str) -> Reply:
    return _problem(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", f"use {allowed} here", {"Allow": allowed})


def _problem(status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str]) -> Reply:
    """Return an error as `application/problem+json` (RFC 9457)."""
    said = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, "code": code}
    return Reply(status, json_text(said).encode(), "application/problem+json", headers)
