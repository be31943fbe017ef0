"""The application whose traces are looked at: its handlers ask a database and a service, as instrumented code does."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import urllib.request
from datetime import timedelta

from opentelemetry import propagate, trace

from mainspring import Every, JobContext, Mainspring, Retry
from mainspring.observability.logs import LogFormatter

app = Mainspring()
log = logging.getLogger("shop")
handler = logging.StreamHandler(sys.stderr)
handler.setFormatter(LogFormatter("json"))
log.addHandler(handler)
log.setLevel(logging.INFO)


def query(where: str) -> None:
    """Ask a database, with the span that an instrumented driver makes."""
    with trace.get_tracer("sqlite3").start_as_current_span(f"select in {where}", kind=trace.SpanKind.CLIENT):
        database = sqlite3.connect(":memory:")
        database.execute("select 1").fetchone()
        database.close()


def call(where: str) -> None:
    """Call the service at `SERVICE_URL`, with the span and the header that an instrumented client makes."""
    with trace.get_tracer("http").start_as_current_span(f"GET from {where}", kind=trace.SpanKind.CLIENT):
        headers: dict[str, str] = {}
        propagate.inject(headers)
        request = urllib.request.Request(os.environ["SERVICE_URL"], headers=headers)  # noqa: S310 - the test's own
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            answer.read()


def work(where: str) -> None:
    query(where)
    call(where)
    log.info("worked in %s", where)


@app.job("in-async")
async def in_async() -> None:
    work("async")


@app.job("in-thread")
def in_thread() -> None:
    work("thread")


@app.job("in-child", executor="process")
def in_child() -> None:
    work("child")


@app.job("ticking", schedule=Every(seconds=1), retry=Retry(max_retries=1, base=timedelta(milliseconds=10)))
async def ticking(ctx: JobContext[None]) -> None:
    if ctx.attempt == 1:
        message = "not at the first try"
        raise ConnectionError(message)
    query("tick")
