"""The application of the node that `./dev prove traces` looks at: real clients, instrumented as their users do it."""

from __future__ import annotations

import os
import sqlite3
import urllib.request
from importlib import import_module

from mainspring import Mainspring

app = Mainspring()
SERVICE_URL = os.environ["SERVICE_URL"]
BY_OPENTELEMETRY = "DD_TRACE_OTEL_ENABLED" not in os.environ
if BY_OPENTELEMETRY:  # ddtrace does it by itself
    import_module("opentelemetry.instrumentation.urllib").URLLibInstrumentor().instrument()


def connect() -> sqlite3.Connection:
    """Open a database in memory, whose driver makes spans."""
    connection = sqlite3.connect(":memory:")
    if BY_OPENTELEMETRY:
        instrumentor = import_module("opentelemetry.instrumentation.sqlite3").SQLite3Instrumentor()
        return instrumentor.instrument_connection(connection)
    return connection


def work() -> None:
    """Ask a database and a service."""
    connection = connect()
    connection.cursor().execute("select 1")
    connection.close()
    with urllib.request.urlopen(SERVICE_URL) as answer:  # noqa: S310 - the proof's own address
        answer.read()


@app.job("in-async")
async def in_async() -> None:
    """Work on the event loop."""
    work()


@app.job("in-thread")
def in_thread() -> None:
    """Work on a thread."""
    work()


@app.job("in-child", executor="process")
def in_child() -> None:
    """Work in a process of its own."""
    work()
