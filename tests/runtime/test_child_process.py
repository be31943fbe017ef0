from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from mainspring.domain.execution import Progress, Trigger
from mainspring.domain.failure import ErrorClass
from mainspring.domain.job import JobDefinition
from mainspring.domain.result import JobResult
from mainspring.errors import JobCrashedError, LeaseLostError, SkipExecution, TransientError
from mainspring.jobs.context import LogLine
from mainspring.runtime import child_process
from mainspring.runtime.child_process import ChildProcessExecutor, how_it_ended
from mainspring.runtime.child_protocol import RemoteFailureError, encode_log
from mainspring.world import RealWorld
from tests.runtime.child_attempt import PATIENT

if TYPE_CHECKING:
    from tests.runtime.child_attempt import Start

HERE = Path(__file__).parent


# ---- what goes in and comes out ------------------------------------------------------------------------------------


async def test_a_handler_runs_in_a_process_of_its_own_and_its_value_comes_back(start: Start) -> None:
    result = await start("greets", {"recipient": "bob", "copies": 2}).result()
    assert result == {"to": "bob", "copies": 2, "own process": True}


async def test_children_start_a_few_at_a_time_and_run_side_by_side(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, starting, most, running = RealWorld(), 0, 0, 0
    all_run = asyncio.Event()

    class CountedChild:
        def __init__(self, *_arguments: object) -> None: ...

        async def start(self, _app: str, _fork_server: object) -> None:
            nonlocal starting, most
            starting += 1
            most = max(most, starting)

        async def begun_or_over(self) -> None:
            nonlocal starting, running
            await world.sleep(0)
            starting, running = starting - 1, running + 1
            if running == 20:
                all_run.set()

        async def answered_or_ended(self) -> None:
            await all_run.wait()  # each waits for all the others

        async def end(self, _grace: float) -> None:
            nonlocal running
            running -= 1

        def result(self) -> None: ...

    attempt = start("waits")
    attempt.task.cancel()
    monkeypatch.setattr(child_process, "_Child", CountedChild)
    executor = ChildProcessExecutor(world, "child_jobs:app", starts=3)
    async with asyncio.TaskGroup() as attempts:
        for _ in range(20):
            attempts.create_task(executor.execute(attempt.job, attempt.context))
    assert (most, running) == (3, 0)


async def test_a_payload_that_does_not_fit_fails_for_good(start: Start) -> None:
    with pytest.raises(RemoteFailureError, match=r"InvalidPayloadError.*'greets'.*recipient") as raised:
        await start("greets", {"copies": 2}).result()
    assert raised.value.failure.error_class is ErrorClass.PERMANENT


async def test_the_context_of_a_child_says_what_that_of_its_node_says(start: Start) -> None:
    attempt = start("tells-its-facts", {"any": "thing"})
    context = attempt.context
    context.attempt, context.fence, context.trigger = 3, 41, Trigger.CRON
    context.scheduled_for = datetime(2027, 3, 28, 1, 0, tzinfo=UTC)
    context.deadline = datetime(2027, 3, 28, 2, 0, 0, 250_000, tzinfo=UTC)
    context.config = {"retention": 30}
    context.last_checkpoint = {"row": 12}
    context.organization_id, context.user_id = "acme", "u-1"
    context.reported = Progress(percent=40, current_step=2, total_steps=5, message="so far", items_processed=9)
    facts = await attempt.result()
    assert facts.pop("pid") != os.getpid()
    assert facts == {
        "id": str(UUID(int=1)),
        "name": "tells-its-facts",
        "attempt": 3,
        "fence": 41,
        "trigger": "cron",
        "node": "node-1",
        "scheduled_for": "2027-03-28T01:00:00+00:00",
        "deadline": "2027-03-28T02:00:00.250000+00:00",
        "config": {"retention": 30},
        "last_checkpoint": {"row": 12},
        "organization_id": "acme",
        "user_id": "u-1",
        "reported": {
            "percent": 40,
            "current_step": 2,
            "total_steps": 5,
            "message": "so far",
            "items_processed": 9,
            "items_succeeded": 0,
            "items_failed": 0,
        },
        "payload": {"any": "thing"},
    }


async def test_a_job_result_stays_one(start: Start) -> None:
    expected = JobResult(
        success=False, items_processed=3, summary="2 of 3", error={"code": "ONE_BAD", "message": "no 2"}
    )
    assert await start("returns-a-job-result").result() == expected


async def test_a_coroutine_that_a_plain_function_returns_is_awaited(start: Start) -> None:
    assert await start("partial-coroutine").result() == "awaited"


async def test_dependencies_are_made_and_closed_in_the_child(start: Start) -> None:
    attempt = start("uses-a-dependency")
    assert await attempt.result() == "the mailer"
    assert attempt.sink.printed("stdout") == ["mailer opened", "mailer closed"]


async def test_50_megabytes_come_back_as_a_note_with_their_size(start: Start) -> None:
    result = await start("returns-50-megabytes").result()
    assert (result["truncated"], result["bytes"]) == (True, 50_000_002)


async def test_a_huge_job_result_keeps_its_counts(start: Start) -> None:
    result = await start("returns-a-huge-job-result").result()
    assert result.items_processed == 1
    assert result.metadata["truncated"] is True
    assert len(result.summary) <= 8_000


async def test_what_is_not_json_comes_back_in_words(start: Start) -> None:
    result = await start("returns-what-is-not-json").result()
    assert result["bad"] is None
    assert "\x00" not in result["text"]
    assert "object object" in result["self"]["repr"]


# ---- while it works ------------------------------------------------------------------------------------------------


async def test_progress_log_lines_and_beats_arrive_while_the_handler_works(start: Start) -> None:
    attempt = start("reports-progress", grace=PATIENT)
    sink = attempt.sink
    await sink.until(lambda: bool(sink.progress and sink.beats and sink.lines))
    expected = Progress(50, current_step=2, total_steps=4, message="half", items_processed=7, items_failed=1)
    assert attempt.context.reported == expected
    assert sink.lines == [LogLine("warning", "half way", {"rows": 7})]
    attempt.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt.task


async def test_a_storm_of_progress_is_thinned_and_its_end_is_kept(start: Start) -> None:
    attempt = start("reports-in-a-storm")
    await attempt.result()
    assert len(attempt.sink.progress) < 200
    assert attempt.context.reported.message == "1999"


async def test_a_checkpoint_returns_when_the_node_has_stored_it(start: Start) -> None:
    attempt = start("saves-a-checkpoint")
    assert await attempt.result() == "saved"
    assert attempt.sink.saved == [{"row": 12, "seen": [1]}]


async def test_a_function_may_run_an_event_loop_of_its_own(start: Start) -> None:
    attempt = start("has-an-event-loop-of-its-own")
    assert await attempt.result() == "mainspring-job"
    assert attempt.sink.saved == ["from there"]


async def test_a_checkpoint_that_the_node_refuses_raises_in_the_handler(start: Start) -> None:
    attempt = start("saves-a-checkpoint")
    attempt.sink.refusal = LeaseLostError("fence 1 is not the newest")
    assert await attempt.result() == "refused: fence 1 is not the newest"


async def test_a_checkpoint_beyond_256_kb_is_refused_with_its_size(start: Start) -> None:
    attempt = start("saves-a-huge-checkpoint")
    with pytest.raises(RemoteFailureError, match="300,002 bytes"):
        await attempt.result()
    assert attempt.sink.saved == []


def test_a_log_line_of_any_size_fits_a_message() -> None:
    line = LogLine("info", "rows", {f"row {number}": "x" * 250_000 for number in range(20)})
    message = encode_log(line)
    assert len(message) < 1_000
    assert b"truncated" in message


async def test_odd_text_can_be_printed(start: Start) -> None:
    attempt = start("prints-odd-text")
    assert await attempt.result() == "done"
    replaced = "\N{REPLACEMENT CHARACTER}"
    assert attempt.sink.printed("stdout") == [
        rf"NUL {replaced} and surrogate \ud800",
        f"bytes {replaced}{replaced} without an end",
    ]
    assert attempt.sink.printed("stderr") == ["to the error stream"]


async def test_a_flood_is_cut_in_the_middle_and_says_so(start: Start) -> None:
    attempt = start("floods")
    await attempt.result()
    lines = attempt.sink.printed("stdout")
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[-1] == "the end"
    assert len(lines) == 1_000 + 1 + 50
    assert "29,0" in lines[1_000]
    assert "lines cut" in lines[1_000]
    assert sum(map(len, lines)) < 500_000


# ---- what it raises ------------------------------------------------------------------------------------------------


async def test_errors_come_back_with_their_class_code_and_trace(start: Start) -> None:
    attempts = {
        word: start("raises", {"error": word})
        for word in ("permanent", "transient", "connection", "timeout", "unknown", "exit")
    }
    errors = await asyncio.gather(*(attempt.task for attempt in attempts.values()), return_exceptions=True)
    failures = {
        word: error.failure
        for word, error in zip(attempts, errors, strict=True)
        if isinstance(error, RemoteFailureError)
    }
    assert {word: (failure.error_class, failure.type, failure.code) for word, failure in failures.items()} == {
        "permanent": (ErrorClass.PERMANENT, "PermanentError", "PERMANENT_ERROR"),
        "transient": (ErrorClass.TRANSIENT, "TransientError", "TRANSIENT_ERROR"),
        "connection": (ErrorClass.TRANSIENT, "ConnectionResetError", "JOB_EXECUTION_ERROR"),
        "timeout": (ErrorClass.TRANSIENT, "TimeoutError", "JOB_EXECUTION_ERROR"),
        "unknown": (ErrorClass.UNKNOWN, "ValueError", "JOB_EXECUTION_ERROR"),
        "exit": (ErrorClass.UNKNOWN, "SystemExit", "JOB_EXECUTION_ERROR"),
    }
    assert failures["permanent"].message == "customer 42 does not exist"
    assert failures["transient"].retry_after == 90.0
    assert "child_jobs.py" in failures["unknown"].trace


async def test_an_error_with_odd_text_comes_back(start: Start) -> None:
    with pytest.raises(RemoteFailureError) as raised:
        await start("raises", {"error": "nul"}).result()
    assert raised.value.failure.message.startswith("a\N{REPLACEMENT CHARACTER}b")


async def test_a_handler_may_skip_its_run(start: Start) -> None:
    with pytest.raises(SkipExecution, match="nothing to send"):
        await start("raises", {"error": "skip"}).result()


# ---- how it dies ---------------------------------------------------------------------------------------------------


async def test_a_child_that_dies_without_an_answer_crashed_and_says_how(start: Start) -> None:
    ways = {
        "exits": "'exits', execution 0000.*exit code 7",
        "kills-itself": "killed by SIGKILL",
        "burns-the-processor": "SIGXCPU.*CPU limit of 0.5 s",
        "eats-memory": "memory limit of 2,000,000,000 bytes",
        "breaks-the-pipe": "the pipe on which the runtime speaks: b'not a message'",
    }
    attempts = [start(name) for name in ways]
    await asyncio.wait([attempt.task for attempt in attempts])
    for attempt, said in zip(attempts, ways.values(), strict=True):
        with pytest.raises(JobCrashedError, match=said):
            await attempt.result()
        if attempt.context.job_name == "eats-memory":
            assert "in eats_memory" in attempt.sink.lines[0].message


async def test_a_crash_in_native_code_leaves_its_last_words_and_its_place(start: Start) -> None:
    attempt = start("aborts")
    with pytest.raises(JobCrashedError, match="SIGABRT"):
        await attempt.result()
    assert attempt.sink.lines[0].message == "last words"
    assert any("in aborts" in line for line in attempt.sink.printed("stderr"))


async def test_a_memory_limit_below_the_bare_process_is_a_mistake_that_is_named(start: Start) -> None:
    with pytest.raises(RemoteFailureError, match=r"memory_limit is 1,000,000 bytes.*set it higher"):
        await start("has-no-room").result()


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "exit code 3"), (-signal.SIGTERM, "killed by SIGTERM$"), (-60, "signal 60"), (-signal.SIGXCPU, "SIGXCPU$")],
)
def test_every_way_to_end_has_words(code: int, said: str) -> None:
    assert re.search(said, how_it_ended(code, JobDefinition("resize")))


# ---- how it cannot start -------------------------------------------------------------------------------------------


async def test_an_application_that_a_child_cannot_find_is_named(start: Start) -> None:
    ways = {
        "no_such_module:app": "'no_such_module:app': ModuleNotFoundError",
        "child_jobs:nothing": "'child_jobs:nothing': AttributeError",
        "child_jobs:NotAnApplication": "what is not an application",
    }
    attempts = [start("exits", app=app) for app in ways]
    await asyncio.wait([attempt.task for attempt in attempts])
    for attempt, said in zip(attempts, ways.values(), strict=True):
        with pytest.raises(RemoteFailureError, match=said) as raised:
            await attempt.result()
        assert raised.value.failure.code == "JOB_DEFINITION"


async def test_an_attempt_cancelled_while_its_application_is_imported_ends_at_once(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import threading; print('importing'); threading.Event().wait()")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    await start("waits", app="slow_to_import:app").cancelled_at("importing")


async def test_a_job_that_the_import_does_not_register_is_named(start: Start) -> None:
    attempt = start("exits")
    attempt.context.job_name = "exit"
    with pytest.raises(RemoteFailureError, match=r"'exit'; did you mean.*import the module of the job from there"):
        await attempt.result()


async def test_a_machine_that_starts_no_process_is_a_trouble_that_passes(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TransientError, match="'exits': its process could not be started"):
        await start("exits").result()
    gc.collect()
