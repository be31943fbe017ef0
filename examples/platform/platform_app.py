"""A platform whose jobs, schedules and admin API run in its own process: nothing else is started or installed."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import uvicorn

from mainspring import JobConfig, JobContext, JobResult, Mainspring, Retry, Thresholds
from mainspring.api.app import create_api

A_MONTH = timedelta(days=30)
MOST_SESSIONS = 1_000

app = Mainspring()  # a SQLite file in the working directory, unless MAINSPRING_DATABASE_URL says otherwise
app.variable("SEARCH_URL", required=False)

unused_for = {"ada": timedelta(hours=2), "bob": timedelta(days=40), "eve": timedelta(days=31)}
"""How long nobody has used each session."""


class RemoveOldSessions:
    """Ends sessions that nobody has used for a month."""

    config = JobConfig(
        name="remove-old-sessions",
        description="Ends sessions that nobody has used for a month",
        schedule_interval_ms=86_400_000,
        timeout=timedelta(minutes=5),
        retry=Retry(max_retries=0),  # the next hour is soon enough
        thresholds=Thresholds(staleness=timedelta(hours=3)),
    )

    async def execute(self, ctx: JobContext[Any]) -> JobResult:
        """Go through the sessions."""
        old = [user for user, unused in unused_for.items() if unused > A_MONTH]
        for number, user in enumerate(old, start=1):
            del unused_for[user]
            ctx.progress(number, of=len(old))
        return JobResult(
            message_code="SESSIONS_REMOVED", summary=f"Processed {len(old)} items", details={"count": len(old)}
        )


class RebuildSearch:
    """Is switched off while the search moves to another machine."""

    config = JobConfig(
        name="rebuild-search",
        description="Builds the index of the search anew",
        schedule_interval_ms=86_400_000,
        enabled=False,
        timeout=timedelta(minutes=30),
        retry=Retry(max_retries=0),
        thresholds=Thresholds(staleness=timedelta(days=2)),
    )

    async def execute(self) -> JobResult:
        """Build it."""
        return JobResult(message_code="SEARCH_REBUILT", summary="Built the index anew")


app.register(RemoveOldSessions())
app.register(RebuildSearch())


@app.check("sessions")
def sessions() -> str:
    """Raise where something is wrong; else say what there is."""
    if len(unused_for) > MOST_SESSIONS:
        raise ValueError(f"there are {len(unused_for)} sessions: remove-old-sessions does not keep up")
    return f"{len(unused_for)} sessions"


async def serve(port: int) -> None:
    """Run the jobs and the API until Ctrl-C."""
    async with app.running() as node:
        app.api_url = f"http://127.0.0.1:{port}"  # where the self-check asks for the health of the API
        config = uvicorn.Config(create_api(app, node=node), port=port, log_level="warning", timeout_graceful_shutdown=5)
        print(f"the platform is at {app.api_url}", flush=True)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=7009)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
