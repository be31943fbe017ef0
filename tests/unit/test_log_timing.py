"""When the log lines of a job go out: together, a little later, or at once."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.failure import failure_of
from mainspring.observability.log_writer import LogWriter
from mainspring.observability.run_identity import RunIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NOW = datetime(2026, 3, 29, 1, 30, 0, 7_999, tzinfo=UTC)
RUN = RunIdentity("digest", execution="0199-7", attempt=2, trigger="cron", node="a")


def json_writer(stream: io.StringIO, max_delay: float = 0.0) -> LogWriter:
    return LogWriter(stream, log_format="json", max_delay=max_delay)


def test_start_lines_wait_for_flush_and_go_out_together() -> None:
    stream = io.StringIO()
    writer = json_writer(stream)
    for attempt in range(3):
        writer.job_started(replace(RUN, attempt=attempt), NOW)
    assert stream.getvalue() == ""
    writer.flush()

    assert [json.loads(line)["attempt"] for line in stream.getvalue().splitlines()] == [0, 1, 2]


class LoopWithTimers:
    """The event loop as the writer sees it, with timers that the test lets go off."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.runs = False

    def is_running(self) -> bool:
        return self.runs

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay, callback))

    def go_off(self) -> None:
        for _, callback in self.timers:
            callback()
        self.timers.clear()


@contextmanager
def running(loop: LoopWithTimers) -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: loop)
        loop.runs = True
        yield
        loop.runs = False


def test_end_lines_go_out_when_the_one_timer_of_the_loop_goes_off() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, log_format="json")
    loop = LoopWithTimers()
    with running(loop):
        writer.job_succeeded(RUN, NOW, 0.1)
        writer.job_skipped(RUN, NOW, 0.1, "disabled")
        before, delays = stream.getvalue(), [delay for delay, _ in loop.timers]
        loop.go_off()
        writer.job_succeeded(RUN, NOW, 0.2)

    assert (before, delays) == ("", [0.05])
    assert len(stream.getvalue().splitlines()) == 2
    assert len(loop.timers) == 1


def test_a_loop_that_ended_before_its_timer_does_not_hold_up_the_lines_of_the_next() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, log_format="json")
    with running(LoopWithTimers()):
        writer.job_succeeded(RUN, NOW, 0.1)
    second = LoopWithTimers()
    with running(second):
        writer.job_succeeded(RUN, NOW, 0.1)
        second.go_off()

    assert len(stream.getvalue().splitlines()) == 2


async def test_end_lines_go_out_on_a_real_loop_without_anybody_asking() -> None:
    stream = io.StringIO()
    writer = json_writer(stream, max_delay=0.001)
    writer.job_succeeded(RUN, NOW, 0.1)
    flushed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.002, flushed.set)
    await flushed.wait()

    assert "Job succeeded" in stream.getvalue()


def test_end_lines_go_out_at_once_where_no_loop_runs() -> None:
    stream = io.StringIO()
    json_writer(stream, max_delay=60).job_succeeded(RUN, NOW, 0.1)

    assert "Job succeeded" in stream.getvalue()


async def test_a_failure_goes_out_at_once_and_takes_along_what_waited_before_it() -> None:
    stream = io.StringIO()
    writer = json_writer(stream, max_delay=60)
    writer.job_started(RUN, NOW)
    writer.job_failed(RUN, NOW, 0.1, failure_of(ValueError("boom")))

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["Job started", "Job failed"]
