"""The application whose failures are told to Sentry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sentry_sdk

from mainspring import Every, Job, JobContext, Mainspring, PermanentError, Retry

app = Mainspring()
AT_ONCE = Retry(max_retries=1, base=timedelta(milliseconds=10))


@app.job("breaks", queue="mail", retry=AT_ONCE, sensitive=("pin",))
async def breaks(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> None:
    """Fail at both tries, after a word and a step."""
    ctx.log("connecting with password=hunter2-of-the-log", host="mail.example", attempt=ctx.attempt)
    ctx.step(2, of=4, label=f"sending {payload['pin']}")
    message = f"order 4711 of {payload['pin']} was refused, password=hunter2-of-the-error"
    raise ValueError(message)


@app.job("breaks-in-child", executor="process", retry=Retry(max_retries=0), sensitive=("pin",))
def breaks_in_child(ctx: JobContext[dict[str, Any]], payload: dict[str, Any]) -> None:
    """Fail in a process of its own, after a word to Sentry itself."""
    ctx.log("in a child")
    sentry_sdk.set_tag("warehouse", "north")
    sentry_sdk.add_breadcrumb(category="stock", message=f"counted with {payload['pin']}")
    sentry_sdk.capture_message(f"the count with {payload['pin']} looks odd")
    raise_in_child()


def raise_in_child() -> None:
    try:
        _ = dict[str, str]()["stock"]
    except KeyError as error:
        raise LookupError("no such table in the child") from error


@app.job("unwraps", retry=Retry(max_retries=0))
async def unwraps() -> None:
    """Fail because of a job that it has run itself."""

    def inner() -> None:
        raise PermanentError("the inner job broke")

    (await Job.run("inner", inner)).unwrap()


@app.job("second-try", retry=AT_ONCE)
async def second_try(ctx: JobContext[None]) -> int:
    """Succeed when asked again."""
    if ctx.attempt == 1:
        raise ConnectionError("not at the first try")
    return ctx.attempt


@app.job("watched", schedule=Every(minutes=1), retry=AT_ONCE, timeout=timedelta(minutes=10))
async def watched(ctx: JobContext[None]) -> None:
    """Succeed at the second try of each minute."""
    if ctx.attempt == 1:
        raise ConnectionError("not at the first try")


@app.job("watched-in-vain", schedule=Every(minutes=1))
async def watched_in_vain() -> None:
    """Fail each minute."""
    raise RuntimeError("it always does")
