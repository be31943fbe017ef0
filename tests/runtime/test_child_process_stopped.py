"""How an attempt in a child process is stopped, and what it has started ends with it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import TYPE_CHECKING

import pytest

from mainspring.jobs.context import LogLine
from tests.runtime.child_attempt import PATIENT, gone

if TYPE_CHECKING:
    from tests.runtime.child_attempt import Start


async def test_a_cancelled_coroutine_is_cancelled_in_the_child(start: Start) -> None:
    attempt = start("waits")
    await attempt.cancelled_at("ready")
    assert attempt.sink.lines[-1] == LogLine("info", "told to stop", {"seen": True})


async def test_a_cancelled_function_sees_it(start: Start) -> None:
    attempt = start("works-until-cancelled")
    await attempt.cancelled_at("ready")
    assert attempt.sink.lines[-1].message == "saw it"


@pytest.mark.parametrize("name", ["swallows-cancellation", "ignores-everything"])
async def test_what_will_not_stop_is_killed_after_the_grace(start: Start, name: str) -> None:
    attempt = start(name, grace=0.05)
    line = await attempt.cancelled_at("ready")
    assert gone(line.fields["pid"])
    assert attempt.sink.lines[-1].message == "the process had not ended after 0.05 s and was killed"


async def test_a_second_cancellation_kills_at_once(start: Start) -> None:
    attempt = start("ignores-everything")
    line = await attempt.sink.line("ready")
    attempt.task.cancel()
    await asyncio.wait({attempt.task}, timeout=0)
    attempt.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt.task
    assert gone(line.fields["pid"])


async def test_an_attempt_cancelled_while_it_starts_leaves_nothing(start: Start) -> None:
    attempt = start("waits")
    await asyncio.wait({attempt.task}, timeout=0)
    attempt.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt.task
    gc.collect()  # an open pipe would warn, and warnings are errors
    assert attempt.sink.lines == []


@pytest.mark.parametrize("payload", [None, "and returns"])
async def test_what_a_job_has_started_ends_with_it(start: Start, payload: str | None) -> None:
    attempt = start("starts-others", payload, grace=0.05 if payload is None else PATIENT)
    if payload is None:
        line = await attempt.cancelled_at("ready")
    else:
        await attempt.result()
        line = await attempt.sink.line("ready")
    assert [gone(pid) for pid in line.fields["pids"]] == [True, True]


async def test_a_command_that_a_job_waits_for_is_told_to_end_at_once(start: Start) -> None:
    await start("waits-for-a-command").cancelled_at("ready")


async def test_what_has_left_the_group_of_a_job_does_not_hold_it_up(start: Start) -> None:
    attempt = start("leaves-a-daemon")
    assert await attempt.result() == "answered"
    (daemon,) = (await attempt.sink.line("ready")).fields["pids"]
    os.kill(daemon, signal.SIGKILL)


async def test_what_a_job_starts_inherits_no_pipe_of_the_runtime(start: Start) -> None:
    assert await start("lists-the-files-of-a-command").result() == ["0", "1", "2", "3"]


async def test_a_service_manager_that_stops_everything_does_not_cut_running_work_short(start: Start) -> None:
    assert await start("survives-sigterm").result() == "still here"


async def test_an_answer_counts_although_its_process_does_not_end(start: Start) -> None:
    attempt = start("leaves-a-thread-behind", grace=0.2)
    assert await attempt.result() == "answered"
    assert attempt.sink.lines[-1].message == "the process had not ended after 0.2 s and was killed"
