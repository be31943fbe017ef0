"""The sample application that `mainspring demo` runs: two reports, and a job of each kind.

It reads and writes in the working directory: the store where `MAINSPRING_DATABASE_URL` says, the flights in
`flights.db`.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from mainspring import Cron, JobConfig, JobResult, Mainspring, Retry, Thresholds, TransientError
from mainspring.sample.flights import flights_report
from mainspring.sample.quotes import quotes_report

if TYPE_CHECKING:
    from mainspring import JobContext

FLIGHTS: Final = Path("flights.db")
"""The table of flights, made by `mainspring.sample.flights.build_flights`."""

_logger = logging.getLogger(__name__)

app = Mainspring()
app.reports.add(flights_report(FLIGHTS, world=app.world))
app.reports.add(quotes_report())


@app.job(
    "refresh-exchange-rates",
    schedule=Cron("* * * * *"),
    group="finance",
    job_type="sync",
    display_name="Refresh exchange rates",
    timeout=timedelta(seconds=30),
    retry=Retry(max_retries=0),  # the next minute is soon enough
    thresholds=Thresholds(staleness=timedelta(minutes=5)),
)
async def refresh_exchange_rates(ctx: JobContext[None]) -> JobResult:
    """Fetch the exchange rates that quotes are converted with."""
    currencies = ("CHF", "EUR", "GBP", "JPY", "SEK", "USD")
    for done, currency in enumerate(currencies, start=1):
        ctx.log("rate fetched", currency=currency)
        ctx.progress(done, of=len(currencies))
        ctx.items(processed=1, succeeded=1)
    return JobResult(success=True, summary=f"{len(currencies)} rates refreshed")


@app.job(
    "weekly-digest",
    schedule=Cron("0 10 * * MON", tz="Europe/Rome"),
    group="communication",
    job_type="notification",
    display_name="Weekly digest",
    timeout=timedelta(minutes=5),
    retry=Retry(max_retries=3),
    thresholds=Thresholds(staleness=timedelta(days=8)),
)
async def weekly_digest(ctx: JobContext[None]) -> str:
    """Write to every team what happened to its quotes last week."""
    ctx.log("digest sent", teams=3)
    return "3 teams"


@app.job(
    "call-carrier",
    schedule=Cron("*/5 * * * *"),
    group="logistics",
    job_type="sync",
    display_name="Ask the carrier for tracking events",
    timeout=timedelta(minutes=1),
    retry=Retry(max_retries=3, base=timedelta(seconds=2)),
    thresholds=Thresholds(staleness=timedelta(minutes=30)),
)
async def call_carrier(ctx: JobContext[None]) -> str:
    """Ask a carrier whose service answers every other time only: fails on purpose, and succeeds when tried again."""
    if ctx.attempt % 2:
        raise TransientError("the carrier's service answers 503")
    return "12 tracking events"


class StorageReport:
    """Say how much room the working directory takes: a platform job, registered as an object."""

    config: ClassVar[JobConfig] = JobConfig(
        name="storage-report",
        description="Say how much room the working directory takes.",
        schedule_interval_ms=3_600_000,
        group="platform",
        timeout=timedelta(minutes=1),
        retry=Retry(max_retries=0),
        thresholds=Thresholds(staleness=timedelta(hours=3)),
    )

    def execute(self) -> JobResult:
        """Add up the files."""
        used = sum(path.stat().st_size for path in Path().glob("*") if path.is_file())
        _logger.info("the working directory holds %d bytes", used)
        return JobResult(success=True, summary=f"{used:,} bytes in use", metadata={"bytes": used})


app.register(StorageReport())
