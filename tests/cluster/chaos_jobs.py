"""The application that lives through chaos: each handler writes its begin and its end to a ledger."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mainspring import JobContext, Mainspring, Retry, TransientError


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler does.

    Attributes:
        number: Which of all jobs this is, for whoever asked and never heard the answer.
        seconds: How long it runs.
    """

    number: int
    seconds: float


def declare(app: Mainspring) -> None:
    """Declare the jobs: one that does its work, and one that always fails at first."""

    async def work(ctx: JobContext[Work], payload: Work) -> int:
        _note(app, ctx, "begin")
        how = "stopped"
        try:
            await app.world.sleep(payload.seconds)
            how = "done"
        finally:
            _note(app, ctx, how)
        return payload.number

    app.job("steady")(work)

    @app.job("unsteady", retry=Retry(max_retries=5, base=timedelta(seconds=0.2)))
    async def unsteady(ctx: JobContext[Work], payload: Work) -> int:
        number = await work(ctx, payload)
        if ctx.attempt == 1:
            msg = f"job {number} always fails at first"
            raise TransientError(msg)
        return number


def _note(app: Mainspring, ctx: JobContext[Work], what: str) -> None:
    """Write a line, in one piece and at once, so that a kill loses nothing that was said."""
    line = {
        "at": app.world.now().timestamp(),
        "what": what,
        "execution": str(ctx.execution_id),
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "node": ctx.node,
    }
    path = Path(os.environ["LEDGER"], f"{ctx.node}-{os.getpid()}.jsonl")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(file)


app = Mainspring()
declare(app)
