"""What a run through the harness costs over the bare call: `python benchmarks/harness.py`.

Log lines go to a file and no exporter is set up, as in the promise of under 30 µs a run. Two lines through the standard
library's logging stand beside it, as a measure of the machine: it is the same work without a harness.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from contextlib import redirect_stdout
from statistics import median
from typing import TYPE_CHECKING, TextIO

from mainspring.jobs.harness import Job
from mainspring.jobs.job_run import Harness, JobRun
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.run_identity import RunIdentity
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 500
ROUNDS = 60
PROMISE = 30.0
_clock = RealWorld()


def _nothing() -> None:
    """Do nothing."""


async def _nothing_async() -> None:
    """Do nothing, to be awaited."""


async def _bare() -> None:
    for _ in range(CALLS):
        await _nothing_async()


async def _run() -> None:
    for _ in range(CALLS):
        await Job.run("no-op", _nothing_async)


async def _run_of_a_sync_function() -> None:
    for _ in range(CALLS):
        await Job.run("no-op", _nothing)


async def _run_sync() -> None:
    for _ in range(CALLS):
        Job.run_sync("no-op", _nothing)


def _attempts_of_the_runtime(log: TextIO) -> Callable[[], Awaitable[None]]:
    """Return a round of attempts whose start lines are flushed as one batch."""
    writer = LogWriter(log, log_format="json")
    harness = Harness(log_writer=writer)
    execution = str(_clock.new_id())

    async def attempts() -> None:
        batch = [RunIdentity("no-op", execution, 1, "api", "node-1") for _ in range(CALLS)]
        now = _clock.now()
        for identity in batch:
            writer.job_started(identity, now)
        writer.flush()
        for identity in batch:
            await harness.carry_out(JobRun[None](identity, announced=True), _nothing_async)
        writer.flush()

    return attempts


def _two_lines_of_logging(log: TextIO) -> Callable[[], Awaitable[None]]:
    logger = logging.getLogger("benchmark")
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def lines() -> None:
        for _ in range(CALLS):
            logger.info("Job started %s", "no-op")
            logger.info("Job succeeded %s %d", "no-op", 1)

    return lines


async def _microseconds(work: Callable[[], Awaitable[None]]) -> float:
    started = _clock.monotonic()
    await work()
    return (_clock.monotonic() - started) / CALLS * 1e6


async def _measure(log: TextIO) -> dict[str, list[float]]:
    """Return the rounds of each row; they take turns, so that a busy moment of the machine falls on all of them."""
    rows = {
        "the bare call": _bare,
        "await Job.run, async function": _run,
        "await Job.run, sync function": _run_of_a_sync_function,
        "Job.run_sync": _run_sync,
        "attempt in a batch of the runtime": _attempts_of_the_runtime(log),
        "two lines of logging (measure)": _two_lines_of_logging(log),
    }
    rounds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, work in rows.items():
            rounds[name].append(await _microseconds(work))
    return rounds


def main() -> int:
    """Print the table, in µs a run; 1 where `Job.run` breaks its promise."""
    with tempfile.TemporaryFile("w", encoding="utf-8") as log, redirect_stdout(log):
        rounds = asyncio.run(_measure(log))
    bare = rounds.pop("the bare call")
    print(f"{'µs a run, over the bare call':36}{'best':>8}{'median':>8}")
    for name, row in rounds.items():
        print(f"{name:36}{min(row) - min(bare):8.1f}{median(row) - median(bare):8.1f}")
    return int(min(rounds["await Job.run, async function"]) > PROMISE)


if __name__ == "__main__":
    sys.exit(main())
