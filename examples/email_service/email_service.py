"""The email service of the scheduler document: three jobs in a FastAPI program, run by a scheduler in another process.

`python email_service.py` serves it. It has no database of ours, and its scheduler has none of its code.
"""

import argparse
import asyncio
import os
from datetime import timedelta
from typing import Any

import uvicorn
from fastapi import FastAPI

from mainspring import Cron, JobContext, JobResult, RemoteService, Retry, Thresholds

USERS = [f"user{number}@example.org" for number in range(1, 41)]
FULL_MAILBOX = "user41@example.org"
SECONDS_PER_MAIL = float(os.environ.get("SECONDS_PER_MAIL", "0.05"))

service = RemoteService(
    "email-service",
    scheduler_url=os.environ.get("SCHEDULER_URL", "http://localhost:7007"),
    callback_url=os.environ.get("SERVICE_URL", "http://localhost:7006"),
    key=os.environ["EMAIL_SERVICE_KEY"],
    signing_secret=os.environ["EMAIL_SERVICE_SIGNING_SECRET"],
    version="1.0.0",
)


@service.job(
    "weekly-trending-digest",
    display_name="Weekly Trending Digest",
    schedule=Cron("0 9 * * MON"),  # Every Monday at 9am
    job_type="email",
    retry=Retry(max_retries=3, base=timedelta(seconds=1)),
    thresholds=Thresholds(consecutive_failures=2),
    config={"audience": "subscribers"},
)
async def weekly_trending_digest(ctx: JobContext[Any]) -> JobResult:
    """Send weekly email with trending content."""
    return await send_to_all(ctx, USERS, "This week's trends")


@service.job("re-engagement-email", display_name="Re-engagement Email", schedule=Cron("0 14 * * WED"), job_type="email")
async def re_engagement_email(ctx: JobContext[Any]) -> JobResult:
    """Write to those who have not been here for a month."""
    return await send_to_all(ctx, USERS * 25, "We miss you")


@service.job("monthly-recap", display_name="Monthly Recap Email", schedule=Cron("0 10 1 * *"), job_type="email")
async def monthly_recap(ctx: JobContext[Any]) -> JobResult:
    """Send monthly summary of user activity."""
    return await send_to_all(ctx, [*USERS, FULL_MAILBOX], "Your month")


async def send_to_all(ctx: JobContext[Any], users: list[str], subject: str) -> JobResult:
    """Send one mail after the other, and say how far it has come."""
    failed = 0
    for number, user in enumerate(users, start=1):
        try:
            await send(user)
            ctx.items(processed=1, succeeded=1)
        except ConnectionError as error:
            failed += 1
            ctx.items(processed=1, failed=1)
            ctx.log(f"failed for {user}: {error}", level="warning")
        ctx.progress(number, of=len(users), message=f"{subject!r} to {user}")
    return JobResult(
        success=failed == 0,
        items_processed=len(users),
        items_succeeded=len(users) - failed,
        items_failed=failed,
        metadata={"usersCount": len(users)},
        summary=f"{len(users) - failed} of {len(users)} mails sent",
    )


async def send(user: str) -> None:
    """Stand in for a mail provider."""
    await asyncio.sleep(SECONDS_PER_MAIL)  # noqa: TID251 - what it stands in for takes a while
    if user == FULL_MAILBOX:
        raise ConnectionError("the mailbox is full")


api = FastAPI(title="email-service", lifespan=service.lifespan)


@api.get("/mailboxes")
async def mailboxes() -> list[str]:
    """Show that the service has routes of its own."""
    return USERS


api.mount("/", service.asgi())

if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=7006)
    uvicorn.run(api, host="127.0.0.1", port=arguments.parse_args().port, log_level="warning")
