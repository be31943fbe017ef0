"""The application that the browser looks at: a job of each kind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mainspring import Cron, Every, JobConfig, JobContext, JobResult, Mainspring, OnStartup, Retry, Thresholds
from mainspring.errors import TransientError
from tests.browser import evil

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

LONG_NAME: Final = "reconcile-" + "the-ledger-of-every-subsidiary-" * 6 + "v2"
_HOUR: Final = timedelta(hours=1)


class StorageReport:
    """A platform job, registered as an object."""

    config: ClassVar[JobConfig] = JobConfig(
        name="storage-report", description="Say how much room there is.", schedule_interval_ms=3_600_000
    )

    def execute(self) -> JobResult:
        """Say so."""
        return JobResult(success=True, summary="12 GB in use")


def make_shop(folder: Path, gate: asyncio.Event, **settings: Any) -> Mainspring:
    """Return the application, with everything that it declares.

    Args:
        folder: Where its store and its exports are.
        gate: What `export-catalogue` waits for.
        **settings: Those of `Mainspring`.
    """
    app = Mainspring(
        database_url=f"sqlite:///{folder}/store.db",
        export_dir=str(folder / "exports"),
        secret_key="the secret key of the browser's tests",
        log_level="error",
        **settings,
    )
    _declare_mail(app)
    _declare_work(app, gate)
    evil.declare(app)
    app.register(StorageReport())
    return app


def _declare_mail(app: Mainspring) -> None:
    """Declare the jobs of the scheduler document's walk-throughs, and what they meet at ten."""

    @app.job(
        "weekly-trending-digest",
        schedule=Cron("0 9 * * MON"),
        display_name="Weekly Trending Digest",
        description="Send weekly email with trending content",
        group="email",
        job_type="email",
        queue="mail",
        thresholds=Thresholds(staleness=timedelta(days=8)),
    )
    async def _digest(ctx: JobContext[Any]) -> None: ...

    @app.job(
        "re-engagement-email",
        schedule=Cron("*/30 * * * *"),
        display_name="Re-engagement Email",
        description="Write to those who have not been here for a month",
        group="email",
        job_type="email",
        queue="mail",
    )
    async def _re_engagement(ctx: JobContext[Any]) -> None: ...

    @app.job(
        "partner-report",
        schedule=Cron("0 10 * * MON"),
        display_name="Partner Report",
        group="email",
        job_type="email",
        queue="mail",
    )
    async def _partner_report(ctx: JobContext[Any]) -> None:
        """Tell partners what they have earned."""


def _declare_work(app: Mainspring, gate: asyncio.Event) -> None:
    @app.job("nightly-cleanup", schedule=Cron("0 2 * * *", tz="Europe/Rome"), display_name="Nightly Cleanup")
    async def _cleanup(ctx: JobContext[Any]) -> None:
        """Remove baskets that nobody will come back to."""

    @app.job("import-orders", schedule=Cron("15 * * * *"), display_name="Import Orders", group="orders")
    async def _import(ctx: JobContext[Any]) -> None:
        """Fetch orders from the marketplace."""
        ctx.log("asking the marketplace", level="warning")
        message = "column 'customer_id' is missing in orders-2026-11-21.csv"
        raise ValueError(message)

    @app.job("export-catalogue", display_name="Export Catalogue", timeout=_HOUR, on_demand=True)
    async def _export(ctx: JobContext[Any], payload: dict[str, Any]) -> None:
        """Write every product to a file."""
        ctx.step(1, of=3, label="Read products")
        for number in range(1, 41):
            ctx.log("page read", page=number)
        ctx.progress(40, of=100, message="page 40 of 100")
        await gate.wait()

    @app.job("sync-partner", retry=Retry(max_retries=3, base=_HOUR), display_name="Sync Partner", on_demand=True)
    async def _sync(ctx: JobContext[Any]) -> None:
        """Ask a partner whose service is down."""
        message = "the partner's service answers 503"
        raise TransientError(message)

    @app.job("warm-caches", schedule=OnStartup(), display_name="Warm Caches")
    async def _warm(ctx: JobContext[Any]) -> None:
        """Fill the caches when a node starts."""

    @app.job(LONG_NAME, schedule=Every(timedelta(days=1)), display_name=LONG_NAME.replace("-", " "), enabled=False)
    async def _reconcile(ctx: JobContext[Any]) -> None: ...
