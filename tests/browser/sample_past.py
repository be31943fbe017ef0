"""A week in the life of the sample application, for pictures of the dashboard."""

from __future__ import annotations

from datetime import timedelta
from random import Random  # noqa: TID251 - from a seed
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.firing_policy import TickOutcome, TickReason
from tests.browser.past import Past, PastRun, failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from mainspring import Mainspring

_SEED: Final = 2013
_MINUTE: Final = timedelta(minutes=1)
_MINUTES_A_DAY: Final = 24 * 60
_PEOPLE: Final = ("a.meyer", "j.doe", "m.rossi", "s.okafor")
_REPORTS: Final = ("quotes", "flights", "executions")


async def give_past(app: Mainspring, node: UUID) -> dict[str, str]:
    """Write what the jobs of the sample application did in the last days.

    Args:
        app: The application, running.
        node: The node that did it all.

    Returns:
        What the parameters of the dashboard's addresses stand for.
    """
    chance = Random(_SEED)
    past = Past(app, chance, node)
    for runs in (_exchange_rates(chance), _storage(chance), _digests(), _exports(chance)):
        await past.happens(runs)
    carried = await past.happens(_carrier(chance))
    now = app.world.now().replace(second=0, microsecond=0)
    quiet = [now - (190 + number) * _MINUTE for number in range(3)]
    await past.does_not_fire("refresh-exchange-rates", quiet, TickOutcome.SKIPPED, TickReason.OVERLAP)
    gave_up = str(carried[2])
    return {"execution_id": gave_up, "run_id": gave_up, "name": "call-carrier", "job_name": "call-carrier"}


def _exchange_rates(chance: Random) -> Iterator[PastRun]:
    for minutes in range(1, 2 * _MINUTES_A_DAY):
        ends_badly = 412 < minutes < 419
        yield PastRun(
            job="refresh-exchange-rates",
            ago=minutes * _MINUTE,
            waited=timedelta(milliseconds=chance.lognormvariate(3, 0.6)),
            lasted=timedelta(seconds=chance.lognormvariate(0.4, 0.25) + (20 if ends_badly else 0)),
            status=Status.FAILED if ends_badly else Status.SUCCEEDED,
            error=failure("ConnectTimeout", "rates.example.org did not answer within 20 s", module="rates")
            if ends_badly
            else None,
            items=6,
            summary=None if ends_badly else "6 rates refreshed",
            lines=[("info", "rate fetched")] * 3 if minutes < 60 else (),
        )


def _carrier(chance: Random) -> Iterator[PastRun]:
    refused = failure("TransientError", "the carrier's service answers 503", module="carrier")
    for turns in range(1, 7 * _MINUTES_A_DAY // 5):
        gave_up = turns in {3, 50, 51, 260}
        yield PastRun(
            job="call-carrier",
            ago=turns * 5 * _MINUTE,
            waited=timedelta(milliseconds=chance.lognormvariate(3, 0.6)),
            lasted=timedelta(seconds=chance.lognormvariate(0.9, 0.4)),
            status=Status.FAILED if gave_up else Status.SUCCEEDED,
            error=refused if gave_up else None,
            result=None if gave_up else "12 tracking events",
            earlier=[refused] * (3 if gave_up else turns % 2),
            items=0 if gave_up else 12,
            lines=[("warning", "503, trying again"), ("info", "12 events")] if turns < 30 else (),
        )


def _storage(chance: Random) -> Iterator[PastRun]:
    for hours in range(1, 7 * 24):
        used = 3_100_000_000 + (168 - hours) * 4_000_000
        yield PastRun(
            job="storage-report",
            ago=hours * 60 * _MINUTE,
            lasted=timedelta(seconds=chance.lognormvariate(1.5, 0.2)),
            trigger=Trigger.INTERVAL,
            summary=f"{used:,} bytes in use",
            result={"success": True, "metadata": {"bytes": used}},
        )


def _digests() -> Iterator[PastRun]:
    for weeks in range(1, 13):
        failed = weeks == 4
        yield PastRun(
            job="weekly-digest",
            ago=timedelta(days=7 * weeks - 1),
            lasted=timedelta(seconds=150 - 4 * weeks),
            status=Status.FAILED if failed else Status.SUCCEEDED,
            error=failure("SMTPServerDisconnected", "connection unexpectedly closed") if failed else None,
            items=3,
            result=None if failed else "3 teams",
        )


def _exports(chance: Random) -> Iterator[PastRun]:
    full = failure("OSError", "[Errno 28] No space left on device: 'exports/flights.csv'", module="export", line=203)
    for number in range(160):
        failed = number in {9, 61}
        report = chance.choice(_REPORTS)
        yield PastRun(
            job="export_report",
            ago=timedelta(minutes=chance.uniform(4, 3 * _MINUTES_A_DAY)),
            lasted=timedelta(seconds=chance.lognormvariate(2.4, 0.7)),
            trigger=Trigger.API,
            user=chance.choice(_PEOPLE),
            organization="org_acme",
            status=Status.FAILED if failed else Status.CANCELLED if number % 41 == 0 else Status.SUCCEEDED,
            error=full if failed else None,
            payload={"reportType": report, "format": chance.choice(("csv", "xlsx", "parquet"))},
            items=chance.randint(200, 300_000),
            tags=[report],
        )
