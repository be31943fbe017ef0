"""The application whose fairness is judged: each handler writes its begin and its end to a ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mainspring import JobContext, Mainspring
from mainspring.domain.rate import Rate
from tests.cluster.ledger import noted

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
        with noted(app, ctx, payload.group):
            await app.world.sleep(payload.seconds)

    app.job("of-organization")(work)
    app.job("of-key", concurrency_key="group", max_running=MOST_OF_A_KEY)(work)
    app.job("at-a-rate", rate_limit=str(RATE))(work)
    app.job("unique")(work)


app = Mainspring()
declare(app)
