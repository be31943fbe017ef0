"""What has happened in the shop, and what is under way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from random import Random  # noqa: TID251 - from a seed
from typing import TYPE_CHECKING, Final

from mainspring import Cron, Mainspring
from mainspring.domain.execution import Status, Trigger
from mainspring.domain.firing_policy import TickOutcome, TickReason
from mainspring.errors import ExecutionFailedError
from tests.browser import evil
from tests.browser.past import Past, PastRun, failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Known:
    """What tests need to know of the past.

    Attributes:
        failed: The last execution that failed, of `import-orders`.
        running: The one that runs.
        schedule: A job with a schedule.
        evil: One that succeeded and one that failed, full of harmful texts.
    """

    failed: UUID
    running: UUID
    evil: tuple[UUID, UUID]
    schedule: str = "weekly-trending-digest"

    @property
    def parameters(self) -> dict[str, str]:
        """What the parameters of the dashboard's addresses stand for."""
        return {
            "execution_id": str(self.failed),
            "name": self.schedule,
            "job_name": self.schedule,
            "run_id": str(self.failed),
        }


async def give_past(app: Mainspring, node: UUID) -> Known:
    """Write days of work, and start what is to be under way.

    Args:
        app: The shop, running.
        node: Its node.
    """
    past = Past(app, Random(7), node)
    await past.happens(_days_of_work())
    await _did_not_run_last_night(app, past)
    evil_runs = await evil.act(app)
    failed = await app.enqueue("import-orders", max_retries=0)
    running = await app.enqueue("export-catalogue", {"reportType": "catalogue", "pages": 100}, user_id="user_42")
    await app.enqueue("sync-partner")
    await app.enqueue("sync-partner", delay=timedelta(days=1), priority=5)
    with suppress(ExecutionFailedError):
        await failed.wait(timedelta(seconds=20))
    return Known(failed.id, running.id, evil_runs)


def _days_of_work() -> Iterator[PastRun]:
    chance = Random(11)
    for half_hours in range(1, 200):
        late = chance.random() < 0.1
        yield PastRun(
            job="re-engagement-email",
            queue="mail",
            ago=half_hours * 30 * _MINUTE,
            waited=timedelta(milliseconds=chance.randint(20, 4_000 if late else 90)),
            lasted=timedelta(seconds=chance.uniform(4, 9)),
            status=Status.FAILED if half_hours % 23 == 0 else Status.SUCCEEDED,
            error=failure("SMTPServerDisconnected", f"connection lost after {half_hours} mails")
            if half_hours % 23 == 0
            else None,
            items=chance.randint(40, 220),
            summary="mails sent",
        )
    for weeks in range(1, 9):
        yield PastRun(
            job="weekly-trending-digest",
            queue="mail",
            ago=weeks * timedelta(days=7),
            lasted=timedelta(seconds=140 + 9 * weeks),
            items=4_000,
        )
    for hours in range(1, 30):
        yield PastRun(job="import-orders", ago=hours * _HOUR, lasted=timedelta(seconds=chance.uniform(20, 40)))
    for number, (status, reason) in enumerate(
        ((Status.CANCELLED, None), (Status.SKIPPED, "condition"), (Status.SUCCEEDED, None))
    ):
        yield PastRun(
            job="export-catalogue",
            ago=(number + 2) * _HOUR,
            lasted=timedelta(seconds=61),
            status=status,
            skip_reason=reason,
            trigger=Trigger.API,
            user="user_42",
            payload={"reportType": "catalogue", "password": "[redacted]"},
            earlier=[failure("TimeoutError", "the catalogue does not answer", module="catalogue")] * 2,
            tags=["catalogue"],
            lines=[("info", "page read"), ("warning", "slow page"), ("error", "gave up")],
        )


async def _did_not_run_last_night(app: Mainspring, past: Past) -> None:
    now = app.world.now()
    last_night = Cron("0 2 * * *", tz="Europe/Rome").next_after(now - timedelta(days=1))
    assert last_night is not None
    await past.does_not_fire("nightly-cleanup", [last_night], TickOutcome.SKIPPED, TickReason.OVERLAP)
    earlier = [last_night - timedelta(days=days) for days in (1, 2)]
    await past.does_not_fire("nightly-cleanup", earlier, TickOutcome.MISSED, TickReason.CATCH_UP_WINDOW)
