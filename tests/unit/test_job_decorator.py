"""What `@app.job` makes of a handler's signature for type checkers: pyright proves it, as `./dev lint` runs it."""

# pyright: reportUnnecessaryTypeIgnoreComment=true
# A wrong call that is no error any more is one then: its `pyright: ignore` has become unnecessary.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from mainspring import JobContext, Mainspring
from mainspring.control.handles import ExecutionHandle, JobHandle
from mainspring.domain.job import ExecutorKind
from mainspring.jobs.provided import provided

app = Mainspring()


@dataclass(frozen=True)
class Digest:
    newsletter: str = "weekly"


@app.job("context-and-payload")
async def context_and_payload(ctx: JobContext, payload: Digest) -> int:
    return len(payload.newsletter) + ctx.attempt


@app.job("context-and-default")
async def context_and_default(ctx: JobContext, payload: Digest = Digest()) -> int:
    return len(payload.newsletter) + ctx.attempt


@app.job("default-on-a-thread")
def default_on_a_thread(payload: Digest = Digest()) -> str:
    return payload.newsletter


@app.job("payload")
async def payload_alone(payload: dict[str, Any]) -> int:
    return len(payload)


@app.job("context")
def context_alone(ctx: JobContext, *, greeting: str = provided(lambda: "hello")) -> str:
    return f"{greeting} {ctx.attempt}"


@app.job("nothing")
async def nothing() -> None: ...


async def calls() -> None:
    """Ask for each job; nobody runs this."""
    assert_type(await context_and_payload.enqueue(Digest()), ExecutionHandle[int])
    await context_and_payload.enqueue("weekly")  # pyright: ignore[reportArgumentType]
    await context_and_payload.enqueue()  # pyright: ignore[reportCallIssue]

    assert_type(await context_and_default.enqueue(Digest(), priority=5), ExecutionHandle[int])
    assert_type(await context_and_default.enqueue(), ExecutionHandle[int])
    await context_and_default.enqueue("weekly")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await context_and_default.enqueue_many([Digest(), "weekly"])  # pyright: ignore[reportArgumentType]

    await context_alone.enqueue(priority=5)
    await context_alone.enqueue(Digest())  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_handle_has_the_payload_and_the_result_of_its_handler() -> None:
    assert_type(context_and_payload, JobHandle[Digest, int])
    assert_type(payload_alone, JobHandle[dict[str, Any], int])
    assert_type(context_alone, JobHandle[None, str])
    assert_type(nothing, JobHandle[None, None])

    assert context_and_payload.definition.name == "context-and-payload"


def test_the_payload_of_a_handler_that_names_a_default_may_be_left_out() -> None:
    assert_type(context_and_default, JobHandle[Digest | None, int])
    assert_type(default_on_a_thread, JobHandle[Digest | None, str])

    handler = app.registry.get("default-on-a-thread").handler
    assert handler.read_payload(None, "default-on-a-thread") == Digest()
    assert handler.executor(ExecutorKind.AUTO) is ExecutorKind.THREAD
