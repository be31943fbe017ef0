"""The application that the nodes under test run. A job waits where it is until the test opens its gate, a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring import JobContext, Mainspring, PermanentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STEPS = 4
GATED_STEP = 2
ROWS = 3_000

app = Mainspring()
print("an application may print while it is imported")  # noqa: T201 - and it does not precede the ready line


async def pass_gate() -> None:
    gate = Path(os.environ["GATE"])
    while not gate.exists():  # noqa: ASYNC240 - another process opens it
        await app.world.sleep(0.02)


@app.job("stepwise")
async def stepwise(ctx: JobContext[None]) -> int:
    for step in range(1, STEPS + 1):
        ctx.step(step, of=STEPS)
        if step == GATED_STEP:
            await pass_gate()
    return ctx.attempt


@app.job("quick")
async def quick() -> str:
    return "done"


@app.job("fails")
async def fails() -> None:
    raise PermanentError("on purpose")


@app.job("exits-hard")
async def exits_hard() -> None:
    os._exit(7)


@app.report("slow")
async def slow(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for number in range(ROWS):
        if number == ROWS // 2:
            await pass_gate()
        yield {"number": number}
