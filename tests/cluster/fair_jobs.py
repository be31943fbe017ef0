"""The application whose fairness is judged: each handler writes its begin and its end to a ledger."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mainspring import JobContext, Mainspring
from mainspring.domain.rate import Rate

MOST_OF_A_KEY: Final = 2
RATE: Final = Rate.parse("6/2s")


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler does.

    Attributes:
        group: What its run counts under in the ledger.
        seconds: How long it runs.
    """

    group: str
    seconds: float


def declare(app: Mainspring) -> None:
    """Declare the jobs, each the same work under another limit."""

    async def work(ctx: JobContext[Work], payload: Work) -> None:
        _note(app, ctx, "begin")
        how = "stopped"
        try:
            await app.world.sleep(payload.seconds)
            how = "done"
        finally:
            _note(app, ctx, how)

    app.job("of-organization")(work)
    app.job("of-key", concurrency_key="group", max_running=MOST_OF_A_KEY)(work)
    app.job("at-a-rate", rate_limit=str(RATE))(work)
    app.job("unique")(work)


def _note(app: Mainspring, ctx: JobContext[Work], what: str) -> None:
    """Write a line, in one piece and at once, so that a kill loses nothing that was said."""
    line = {
        "at": app.world.now().timestamp(),
        "what": what,
        "execution": str(ctx.execution_id),
        "attempt": ctx.attempt,
        "group": ctx.payload.group,
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
