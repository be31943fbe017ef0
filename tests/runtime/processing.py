"""Applications with processors under test, one execution at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mainspring import Mainspring, testing
from mainspring.domain.execution import Execution, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def enqueue(app: Mainspring, **payload: Any) -> None:
    await app.enqueue("data_processing", payload, organization_id="acme")


async def run(app: Mainspring, **payload: Any) -> Execution:
    """Run one execution to the end of its first attempt."""
    async with testing.kit(app) as kit:
        await enqueue(app, **payload)
        execution = await kit.run_next()
    assert execution is not None
    return execution


async def succeed(app: Mainspring, **payload: Any) -> dict[str, Any]:
    execution = await run(app, **payload)
    assert (execution.status, execution.error_message) == (Status.SUCCEEDED, None)
    return execution.result


def items_of(execution: Execution) -> tuple[int, int, int]:
    progress = execution.progress
    return progress.items_processed, progress.items_succeeded, progress.items_failed


async def settle() -> None:
    """Let everything happen that needs no time."""
    for _ in range(100):
        ready = asyncio.Event()
        asyncio.get_running_loop().call_soon(ready.set)
        await ready.wait()


async def generator(source: int) -> AsyncIterator[int]:
    for number in range(source):
        yield number


def plain_generator(source: int) -> Iterator[int]:
    yield from range(source)


def returning(source: int) -> list[int]:
    return list(range(source))


async def awaited(source: int) -> AsyncIterator[int]:
    return generator(source)
