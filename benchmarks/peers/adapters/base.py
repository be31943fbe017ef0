"""What every adapter has, and the small command line by which `./dev prove peers` drives it.

An adapter subclasses `Adapter` and ends with `main(ItsClass)`. It runs in the environment of its library alone:

    python -m adapters.NAME reset | single N | bulk N | pace RATE SECONDS | worker | watch

Its handler calls `mark(sent)`, which appends 16 bytes to a file: when the job was sent, and when it began.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

HOME = Path(os.environ["BENCH_HOME"])
PG_URL = os.environ.get("BENCH_PG_URL", "")
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
ROOT = Path(__file__).resolve().parent.parent
_WATCH_SECONDS = 0.004
_open: dict[str, Any] = {}


def mark(sent: float = 0.0) -> None:
    """Record that a job has begun; the clock is the same for all processes of the machine."""
    if "marks" not in _open:
        _open["marks"] = os.open(os.environ["BENCH_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_open["marks"], struct.pack("dd", sent, time.monotonic()))


def sync_count(query: str) -> int:
    """Return the one number of a query on PostgreSQL."""
    import psycopg

    if "postgresql" not in _open:
        _open["postgresql"] = psycopg.connect(PG_URL, autocommit=True)
    return _open["postgresql"].execute(query).fetchone()[0]


def empty_postgresql() -> None:
    """Remove everything from the schema `public`."""
    import psycopg

    with psycopg.connect(PG_URL, autocommit=True) as connection:
        connection.execute("drop schema if exists public cascade")
        connection.execute("create schema public")


def redis_client() -> Any:  # noqa: ANN401 - of whatever version the library under test wants
    """Return a connection to Redis."""
    import redis

    return redis.Redis.from_url(REDIS_URL)


class Adapter:
    """How a library is used. Methods may be plain or asynchronous; asynchronous ones share an event loop.

    Attributes:
        backend: Whose work is counted beside the worker's: "pg", "redis" or "sqlite".
        settings: What was set, in words.
        has_bulk: Whether the library enqueues many in one call.
        uvloop: Whether it runs on uvloop, where it documents that.
    """

    backend = ""
    settings = ""
    has_bulk = False
    uvloop = False

    def open(self) -> Any:  # noqa: ANN401 - None, or what is awaited for it; so below
        """Connect whoever enqueues."""

    def close(self) -> Any:  # noqa: ANN401
        """Disconnect."""

    def reset(self) -> Any:  # noqa: ANN401
        """Begin with an empty store."""

    def put(self, task: str, sent: float) -> Any:  # noqa: ANN401
        """Enqueue one job, and return when the store has it."""

    def put_many(self, task: str, n: int) -> Any:  # noqa: ANN401
        """Enqueue many jobs by the call that the library has for it."""

    def remaining(self) -> int:
        """Return how many jobs are not recorded as complete."""
        raise NotImplementedError

    def worker(self) -> Any:  # noqa: ANN401
        """Work until killed."""


def main(adapter_class: type[Adapter]) -> None:
    """Do what the command line says."""
    adapter, command, numbers = adapter_class(), sys.argv[1], [float(text) for text in sys.argv[2:] if text != "noop"]
    if command == "info":
        names = ("backend", "settings", "has_bulk")
        print(json.dumps({name: getattr(adapter, name) for name in names}))
        return
    if command == "worker" and not inspect.iscoroutinefunction(adapter.worker):
        adapter.worker()
        return
    factory = None
    if adapter.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        said = runner.run(_COMMANDS[command](adapter, *numbers))
    if said is not None:
        print(json.dumps(said), flush=True)


async def _of(result: Any) -> Any:  # noqa: ANN401 - whatever the library returns
    return await result if inspect.isawaitable(result) else result


async def _reset(adapter: Adapter) -> None:
    await _of(adapter.reset())


async def _work(adapter: Adapter) -> None:
    await adapter.worker()


async def _watch(adapter: Adapter) -> dict[str, float]:
    await _of(adapter.remaining())
    print("ready", flush=True)
    sys.stdin.readline()
    while await _of(adapter.remaining()):
        time.sleep(_WATCH_SECONDS)
    return {"at": time.monotonic()}


async def _single(adapter: Adapter, n: float) -> dict[str, float]:
    await _of(adapter.open())
    await _of(adapter.put("noop", 0.0))
    began = time.monotonic()
    for _ in range(int(n) - 1):
        await _of(adapter.put("noop", 0.0))
    took = time.monotonic() - began
    await _of(adapter.close())
    return {"rate": (n - 1) / took}


async def _bulk(adapter: Adapter, n: float) -> dict[str, float | None]:
    await _of(adapter.open())
    began = time.monotonic()
    if adapter.has_bulk:
        await _of(adapter.put_many("noop", int(n)))
    else:
        for _ in range(int(n)):
            await _of(adapter.put("noop", 0.0))
    took = time.monotonic() - began
    await _of(adapter.close())
    return {"rate": n / took if adapter.has_bulk else None}


async def _pace(adapter: Adapter, rate: float, seconds: float) -> None:
    await _of(adapter.open())
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await _of(adapter.put("noop", time.monotonic()))
    await _of(adapter.close())


_COMMANDS = {"reset": _reset, "worker": _work, "watch": _watch, "single": _single, "bulk": _bulk, "pace": _pace}
