"""Carries out attempts of jobs that live in other services: one signed call, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.webhook_signature import sign
from mainspring.errors import (
    EgressFailedError,
    EgressRefusedError,
    EgressUnreachableError,
    MainspringError,
    ServiceUnreachableError,
)
from mainspring.observability.run_identity import current_run
from mainspring.observability.tracing import current_traceparent
from mainspring.remote import protocol
from mainspring.remote.answers import CallBrokenOffError, CallNotMadeError, result_in
from mainspring.remote.protocol import CallbackRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from mainspring.domain.result import JobResult
    from mainspring.egress.client import Answer, Egress
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.remote.protocol import Callback
    from mainspring.world import World

CONNECT_WITHIN: Final = timedelta(seconds=5)
_BEYOND_TIMEOUT: Final = timedelta(seconds=30)
"""The attempt's own timeout comes first, and says so."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the calls of a job go.

    Attributes:
        service: The name of its service.
        url: Where that is, without the path of the call.
        secrets: What calls are signed with, `whsec_…`: one, or two while one replaces the other; none: it never
            registered with an API key.
    """

    service: str
    url: str
    secrets: Sequence[str] = field(repr=False)


class RemoteExecutor:
    """Calls services.

    Args:
        egress: The way out: checked and pinned addresses, no redirects, caps.
        world: The clock of signatures.
        destination_of: Returns where the calls of a job go.
        callback_of: Returns where an attempt is to be reported, by its execution and fence.
        on_call: Told of each call that was made: the job, its service, and the error if it has not brought a result;
            `WorkGoesOn` is one of them. Returns the seconds before the next call may be tried.
    """

    def __init__(
        self,
        *,
        egress: Egress,
        world: World,
        destination_of: Callable[[str], Destination],
        callback_of: Callable[[UUID, int], Callback],
        on_call: Callable[[str, str, MainspringError | None], Awaitable[float]],
    ) -> None:
        self._egress = egress
        self._world = world
        self._destination_of = destination_of
        self._callback_of = callback_of
        self._on_call = on_call

    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> JobResult:
        """Carry out one attempt: call the service and wait for its answer.

        Raises:
            WorkGoesOn: The service has accepted the attempt.
            ServiceUnreachableError: The call did not reach it.
            MainspringError: It answered with a failure, or not as it should (`answers.result_in`).
        """
        destination = self._destination_of(context.job_name)
        try:
            result = result_in(await self._call(job, context, destination), destination.service, self._world.now())
        except CallNotMadeError:
            raise
        except ServiceUnreachableError as error:
            wait = await self._on_call(context.job_name, destination.service, error)
            error.retry_after = max(timedelta(seconds=wait), error.retry_after or timedelta(0))
            raise
        except MainspringError as error:
            await self._on_call(context.job_name, destination.service, error)
            raise
        await self._on_call(context.job_name, destination.service, None)
        return result

    async def _call(self, job: RegisteredJob, context: JobContext[Any], destination: Destination) -> Answer:
        body = self._body(job, context)
        service = destination.service
        try:
            return await self._egress.request(
                "POST",
                protocol.execute_url(destination.url, context.job_name),
                body=body,
                headers=self._headers(context, destination, body),
                deadline=job.definition.timeout + _BEYOND_TIMEOUT,
                connect_within=CONNECT_WITHIN,
                max_body_bytes=protocol.MAX_MESSAGE_BYTES,
            )
        except EgressUnreachableError as error:
            raise ServiceUnreachableError(f"service {service!r} was not reached: {error}") from None
        except EgressFailedError as error:
            raise CallBrokenOffError(f"service {service!r} was called, and did not answer: {error}") from None
        except EgressRefusedError as error:
            raise CallNotMadeError(f"service {service!r} may not be called: {error}") from None

    def _body(self, job: RegisteredJob, context: JobContext[Any]) -> bytes:
        return CallbackRequest(
            execution_id=context.execution_id,
            job_name=context.job_name,
            attempt=context.attempt,
            fence=context.fence,
            trigger=context.trigger.value,
            triggered_by_user=context.user_id,
            scheduled_for=context.scheduled_for,
            deadline=context.deadline or self._world.now() + job.definition.timeout,
            payload=context.payload,
            config=context.config,
            callback=self._callback_of(context.execution_id, context.fence),
        ).to_bytes()

    def _headers(self, context: JobContext[Any], destination: Destination, body: bytes) -> dict[str, str]:
        if not destination.secrets:
            raise CallNotMadeError(
                f"service {destination.service!r} cannot be called: it has registered without an API key, and the "
                "signing secret of that key signs calls. Make one with `mainspring key create`, and register with it"
            )
        headers = {"Content-Type": "application/json"}
        run = current_run.get()
        traceparent = current_traceparent() or (run.traceparent if run is not None else None)
        if traceparent is not None:
            headers[protocol.TRACEPARENT_HEADER] = traceparent
        message_id = protocol.message_id(context.execution_id, context.fence)
        return headers | sign(destination.secrets, message_id, self._world.now(), body)
