"""An application of jobs, well and badly behaved, that child processes import.

A job has the name of its function, with hyphens. Where a test has to act while it runs, it logs the word `ready`.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from mainspring.domain.job import ExecutorKind, JobDefinition
from mainspring.domain.result import JobResult
from mainspring.errors import LeaseLostError, PermanentError, SkipExecution, TransientError
from mainspring.jobs.context import JobContext
from mainspring.jobs.provided import provided
from mainspring.jobs.registry import JobRegistry

Context = JobContext[Any]
Function = Callable[..., object]
SLEEPER = (sys.executable, "-c", "import signal; signal.pause()")


class Application:
    def __init__(self) -> None:
        self.registry = JobRegistry()

    def job(self, **options: Any) -> Callable[[Function], Function]:
        def register(function: Function) -> Function:
            name = function.__name__.replace("_", "-")
            self.registry.add(JobDefinition(name, executor=ExecutorKind.PROCESS, **options), function)
            return function

        return register


class NotAnApplication:
    registry = "nothing"


app = Application()


@dataclass
class Digest:
    recipient: str
    copies: int = 1


def block() -> None:
    threading.Event().wait()


# ---- well behaved --------------------------------------------------------------------------------------------------


@app.job()
async def greets(ctx: Context, payload: Digest) -> dict[str, object]:
    return {"to": payload.recipient, "copies": payload.copies, "own process": os.getpid() != os.getppid()}


@app.job()
def tells_its_facts(ctx: Context) -> dict[str, object]:
    return {
        "id": ctx.execution_id,
        "name": ctx.job_name,
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "trigger": ctx.trigger,
        "node": ctx.node,
        "scheduled_for": ctx.scheduled_for,
        "deadline": ctx.deadline,
        "config": ctx.config,
        "last_checkpoint": ctx.last_checkpoint,
        "organization_id": ctx.organization_id,
        "user_id": ctx.user_id,
        "reported": ctx.reported,
        "pid": os.getpid(),
        "payload": ctx.payload,
    }


@app.job()
async def returns_a_job_result() -> JobResult:
    return JobResult(success=False, items_processed=3, summary="2 of 3", error={"code": "ONE_BAD", "message": "no 2"})


async def _quietly_asynchronous(word: str) -> str:
    return word


app.registry.add(
    JobDefinition("partial-coroutine", executor=ExecutorKind.PROCESS),
    lambda: functools.partial(_quietly_asynchronous, "awaited")(),  # noqa: PLW0108 - a plain function, not a coroutine one
)


@asynccontextmanager
async def open_mailer() -> AsyncGenerator[str]:
    print("mailer opened")  # noqa: T201 - what a job prints is part of what is tested
    yield "the mailer"
    print("mailer closed")  # noqa: T201


@app.job()
async def uses_a_dependency(*, mailer: str = provided(open_mailer)) -> str:
    return mailer


@app.job()
async def reports_progress(ctx: Context) -> None:
    ctx.step(2, of=4, label="half")
    ctx.items(processed=7, failed=1)
    ctx.log("half way", level="warning", rows=7)
    ctx.heartbeat()
    await asyncio.Event().wait()


@app.job()
def reports_in_a_storm(ctx: Context) -> None:
    for number in range(2_000):
        ctx.progress(number, of=2_000, message=str(number))
        os.sched_yield()


@app.job()
async def saves_a_checkpoint(ctx: Context) -> str:
    try:
        await ctx.checkpoint({"row": 12, "seen": {1}})
    except LeaseLostError as error:
        return f"refused: {error}"
    return "saved"


@app.job()
def has_an_event_loop_of_its_own(ctx: Context) -> str:
    asyncio.run(ctx.checkpoint("from there"))
    return threading.current_thread().name


@app.job()
async def saves_a_huge_checkpoint(ctx: Context) -> None:
    await ctx.checkpoint("x" * 300_000)


# ---- errors --------------------------------------------------------------------------------------------------------


@app.job()
async def raises(payload: dict[str, Any]) -> None:
    raise {
        "permanent": PermanentError("customer 42 does not exist"),
        "transient": TransientError("too many requests", retry_after=timedelta(seconds=90)),
        "connection": ConnectionResetError("gone"),
        "timeout": TimeoutError("slow"),
        "unknown": ValueError("odd"),
        "exit": SystemExit(3),
        "skip": SkipExecution("nothing to send"),
        "nul": ValueError("a\x00b \ud800"),
    }[payload["error"]]


@app.job()
def tells_its_parent() -> int:
    return os.getppid()


@app.job()
def exits() -> None:
    os._exit(7)


@app.job()
def aborts(ctx: Context) -> None:
    ctx.log("last words")
    os.abort()


@app.job()
def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.job()
def breaks_the_pipe() -> None:
    for descriptor in sys.argv[1:3]:
        with suppress(OSError):
            os.write(int(descriptor), b"not a message\n")
    block()


@app.job(memory_limit=2_000_000_000)
def eats_memory() -> int:
    return len(bytearray(3_000_000_000))


@app.job(memory_limit=1_000_000)
def has_no_room() -> None: ...


@app.job(cpu_limit=timedelta(seconds=0.5))
def burns_the_processor() -> None:
    while True:
        pass


# ---- results and output --------------------------------------------------------------------------------------------


@app.job()
def returns_50_megabytes() -> str:
    return "x" * 50_000_000


@app.job()
def returns_what_is_not_json() -> dict[str, object]:
    return {"amount": Decimal("1.5"), "bad": float("nan"), "text": "a\x00b\ud800", "self": object()}


@app.job()
def returns_a_huge_job_result() -> JobResult:
    return JobResult(items_processed=1, metadata={"rows": "x" * 10_000_000}, summary="s" * 10_000_000)


@app.job()
def prints_odd_text() -> str:
    print("NUL \x00 and surrogate \ud800")  # noqa: T201
    print("to the error stream", file=sys.stderr)  # noqa: T201
    os.write(1, b"bytes \xff\xfe without an end")
    return "done"


@app.job()
def floods() -> None:
    for number in range(30_000):
        print("line", number)  # noqa: T201
    sys.stdout.write("y" * 500_000)
    print()  # noqa: T201
    print("the end")  # noqa: T201


# ---- will not stop -------------------------------------------------------------------------------------------------


@app.job()
async def waits(ctx: Context) -> None:
    ctx.log("ready")
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log("told to stop", seen=ctx.cancelled)


@app.job()
def works_until_cancelled(ctx: Context) -> None:
    ctx.log("ready")
    while not ctx.cancelled:
        pass
    ctx.log("saw it")


@app.job()
async def swallows_cancellation(ctx: Context) -> None:
    ctx.log("ready", pid=os.getpid())
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


@app.job()
async def ignores_everything(ctx: Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.log("ready", pid=os.getpid())
    block()


@app.job()
def starts_others(ctx: Context) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    stubborn = subprocess.Popen((sys.executable, "-c", deaf), stdout=subprocess.PIPE)
    if stubborn.stdout is not None:
        stubborn.stdout.readline()
    ctx.log("ready", pids=[subprocess.Popen(SLEEPER).pid, stubborn.pid])
    if ctx.payload == "and returns":
        return
    block()


@app.job()
def waits_for_a_command(ctx: Context) -> int:
    with subprocess.Popen(SLEEPER) as command:
        ctx.log("ready")
        return command.wait()


@app.job()
def leaves_a_daemon(ctx: Context) -> str:
    ctx.log("ready", pids=[subprocess.Popen(SLEEPER, start_new_session=True).pid])
    return "answered"


@app.job()
def lists_the_files_of_a_command() -> list[str]:
    return subprocess.check_output(("ls", "/proc/self/fd"), close_fds=False, text=True).split()


@app.job()
def survives_sigterm(ctx: Context) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return "still here"


@app.job()
def leaves_a_thread_behind() -> str:
    threading.Thread(target=block, daemon=False).start()  # noqa: TID251 - the job's own thread keeps its process from ending
    return "answered"


@app.job()
def holds_the_interpreter(ctx: Context) -> None:
    ctx.log("ready", pids=[os.getpid(), subprocess.Popen(SLEEPER).pid])
    ctypes.PyDLL(None).pause()  # a call through PyDLL keeps the interpreter's lock
