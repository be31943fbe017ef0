"""The scheduler: an application with one job of its own. The email service brings its jobs over HTTP."""

from datetime import timedelta

from mainspring import Cron, Mainspring, Retry, Thresholds

app = Mainspring()


@app.job(
    "count-subscribers",
    schedule=Cron("0 3 * * *"),
    timeout=timedelta(minutes=1),
    retry=Retry(max_retries=3),
    thresholds=Thresholds(staleness=timedelta(days=2)),
)
async def count_subscribers() -> int:
    """Run here, whatever becomes of the services."""
    return 40
