"""What a run through the harness costs over the bare call: `python benchmarks/harness.py`.

Log lines go to a file and no exporter is set up, as in the promise of under 30 µs a run.
"""

from __future__ import annotations

import asyncio
import os
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

CALLS = 5_000
ROUNDS = 7
PROMISE = 30.0
_clock = RealWorld()


def _nothing() -> None:
    """Do nothing."""


async def _nothing_async() -> None:
    """Do nothing, to be awaited."""


async def _bare() -> None:
    for _ in range(CALLS):
        await _nothing_async()


async def _job_run() -> None:
    for _ in range(CALLS):
        await Job.run("no-op", _nothing_async)


async def _job_run_of_a_sync_function() -> None:
    for _ in range(CALLS):
        await Job.run("no-op", _nothing)


async def _job_run_sync() -> None:
    for _ in range(CALLS):
        Job.run_sync("no-op", _nothing)


def _as_the_runtime_does(log: TextIO) -> Callable[[], Awaitable[None]]:
    """Return a round of attempts whose start lines are flushed as one batch."""
    writer = LogWriter(log, log_format="json")
    harness = Harness(log_writer=writer)

    async def runs() -> None:
        execution = str(_clock.new_id())
        batch = [RunIdentity("no-op", execution, 1, "api", "node-1") for _ in range(CALLS)]
        now = _clock.now()
        for identity in batch:
            writer.job_started(identity, now)
        writer.flush()
        for identity in batch:
            await harness.carry_out(JobRun[None](identity, announced=True), _nothing_async)
        writer.flush()

    return runs


async def _microseconds(work: Callable[[], Awaitable[None]]) -> float:
    rounds: list[float] = []
    for _ in range(ROUNDS):
        started = _clock.monotonic()
        await work()
        rounds.append((_clock.monotonic() - started) / CALLS * 1e6)
    return median(rounds)


async def _measure() -> dict[str, float]:
    path = os.path.join(tempfile.mkdtemp(), "jobs.log")  # noqa: PTH118 - opened by its name
    with open(path, "w", encoding="utf-8") as log, redirect_stdout(log):  # noqa: ASYNC230, PTH123 - the file is what is measured
        bare = await _microseconds(_bare)
        rows = {
            "await Job.run, async function": await _microseconds(_job_run),
            "await Job.run, sync function": await _microseconds(_job_run_of_a_sync_function),
            "Job.run_sync": await _microseconds(_job_run_sync),
            "attempt in a batch of the runtime": await _microseconds(_as_the_runtime_does(log)),
        }
    return {"the bare call": bare} | {name: cost - bare for name, cost in rows.items()}


def main() -> int:
    """Print the table; 1 where `Job.run` breaks its promise."""
    rows = asyncio.run(_measure())
    print(f"{'':36}{'µs a run':>10}")
    for name, cost in rows.items():
        print(f"{name:36}{cost:10.2f}")
    return int(rows["await Job.run, async function"] > PROMISE)


if __name__ == "__main__":
    sys.exit(main())
