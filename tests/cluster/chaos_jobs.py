"""The application that lives through chaos: each handler writes its begin and its end to a ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mainspring import JobContext, Mainspring, Retry, TransientError
from tests.cluster.ledger import noted


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
        with noted(app, ctx):
            await app.world.sleep(payload.seconds)
        return payload.number

    app.job("steady")(work)

    @app.job("unsteady", retry=Retry(max_retries=5, base=timedelta(seconds=0.2)))
    async def unsteady(ctx: JobContext[Work], payload: Work) -> int:
        number = await work(ctx, payload)
        if ctx.attempt == 1:
            msg = f"job {number} always fails at first"
            raise TransientError(msg)
        return number


app = Mainspring()
declare(app)
