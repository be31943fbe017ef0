"""The call of a service, taken apart: its headers, its limits, and who hears what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from mainspring.domain.execution import Trigger
from mainspring.domain.job import ExecutorKind, JobDefinition
from mainspring.domain.webhook_signature import new_secret, verify
from mainspring.egress.client import Answer
from mainspring.errors import EgressFailedError, EgressUnreachableError, ServiceUnreachableError
from mainspring.jobs.context import JobContext
from mainspring.jobs.handler import bind
from mainspring.jobs.registry import RegisteredJob
from mainspring.observability.run_identity import RunIdentity, current_run
from mainspring.remote.answers import CallBrokenOffError, CallNotMadeError
from mainspring.remote.protocol import Callback
from mainspring.remote.service_executor import Destination, RemoteExecutor
from mainspring.security.authentication import AuthenticationError
from mainspring.security.callback_tokens import callback_token, fence_of
from mainspring.security.secret_key import SecretKey
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from mainspring.errors import MainspringError

OLD, NEW = (new_secret(bytes([number]) * 32) for number in (1, 2))
TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DONE: Final = Answer(200, {}, b'{"success": true}', truncated=False)


@dataclass(slots=True)
class Bench:
    """An executor whose way out is a note book."""

    answer: Answer | Exception = DONE
    secrets: tuple[str, ...] = (NEW,)
    sent: dict[str, Any] = field(default_factory=dict[str, Any])
    heard: list[MainspringError | None] = field(default_factory=list["MainspringError | None"])

    async def request(self, _method: str, url: str, **sent: Any) -> Answer:
        """Note a request."""
        self.sent = sent | {"url": url}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def hear(self, _job: str, _service: str, error: MainspringError | None) -> float:
        """Note what came of a call."""
        self.heard.append(error)
        return 8.0

    async def execute(self) -> object:
        """Carry out one attempt."""
        world, egress = RealWorld(), self
        executor = RemoteExecutor(
            egress=egress,  # type: ignore[arg-type]
            world=world,
            destination_of=lambda _name: Destination("mailer", "http://mailer", self.secrets),
            callback_of=lambda _id, _fence: Callback("https://jobs.example", "42.token"),
            on_call=self.hear,
        )
        definition = JobDefinition("digest", executor=ExecutorKind.REMOTE, timeout=timedelta(minutes=2))
        context: JobContext[Any] = JobContext(
            UUID(int=7),
            "digest",
            1,
            42,
            Trigger.CRON,
            "node",
            None,
            sink=None,  # type: ignore[arg-type]
        )
        return await executor.execute(RegisteredJob(definition, bind(lambda: None, job_name="digest"), ""), context)


async def test_a_call_carries_the_trace_of_whoever_asked_for_the_run() -> None:
    bench = Bench()
    current_run.set(RunIdentity("digest", traceparent=TRACEPARENT))
    try:
        await bench.execute()
    finally:
        current_run.set(None)
    assert bench.sent["headers"]["traceparent"] == TRACEPARENT


async def test_while_a_secret_is_replaced_either_verifies() -> None:
    bench = Bench(secrets=(NEW, OLD))
    await bench.execute()
    for secret in (NEW, OLD):
        assert verify([secret], bench.sent["headers"], bench.sent["body"], RealWorld().now()) == f"{UUID(int=7)}.42"


async def test_the_timeout_of_the_job_comes_before_the_end_of_the_call() -> None:
    bench = Bench()
    await bench.execute()
    assert bench.sent["deadline"] > timedelta(minutes=2)
    assert bench.sent["connect_within"] == timedelta(seconds=5)
    assert bench.sent["max_body_bytes"] == 1_000_000


async def test_what_was_not_sent_waits_as_long_as_the_breaker_says_or_the_service_asks() -> None:
    refused = Bench(EgressUnreachableError("took no connection"))
    with pytest.raises(ServiceUnreachableError) as unreachable:
        await refused.execute()
    assert unreachable.value.retry_after == timedelta(seconds=8)
    busy = Bench(Answer(503, {"retry-after": "120"}, b"", truncated=False))
    with pytest.raises(ServiceUnreachableError) as later:
        await busy.execute()
    assert later.value.retry_after == timedelta(seconds=120)
    for bench in (refused, busy):
        assert [type(error) for error in bench.heard] == [ServiceUnreachableError]


async def test_what_was_sent_and_not_answered_is_another_failure() -> None:
    bench = Bench(EgressFailedError("broke the connection off"))
    with pytest.raises(CallBrokenOffError):
        await bench.execute()


async def test_a_call_that_was_not_made_says_nothing_about_the_service() -> None:
    bench = Bench(secrets=())
    with pytest.raises(CallNotMadeError):
        await bench.execute()
    assert (bench.heard, bench.sent) == ([], {})


def test_a_token_of_before_the_secret_key_was_replaced_still_holds() -> None:
    old, new = (SecretKey(bytes([number]) * 32) for number in (1, 2))
    token = callback_token(old, UUID(int=7), 42)
    assert fence_of([new, old], UUID(int=7), token) == 42
    with pytest.raises(AuthenticationError):
        fence_of([new], UUID(int=7), token)


@pytest.mark.parametrize("token", ["", "42", "42.", "42.x", "-1.x", f"{'9' * 20}.{'a' * 43}", f"42.{'a' * 43}\n"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(AuthenticationError):
        fence_of([SecretKey(b"1" * 32)], UUID(int=7), token)
