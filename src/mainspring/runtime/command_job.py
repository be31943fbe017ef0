"""Carries out command jobs: the handler that runs a program, and says how it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.result import JobResult
from mainspring.runtime.program import ProgramRun, ProgramStart
from mainspring.runtime.program_output import ProgramOutput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.jobs.command import Command
    from mainspring.jobs.context import JobContext
    from mainspring.runtime.program import ProgramEnd, Stream
    from mainspring.world import World

FAILED: Final = "PROGRAM_FAILED"
STOP_GRACE_SECONDS: Final = 8.0
"""Between `TERM` and `KILL`: within the 10 seconds that a cancellation may take (contract §7)."""


def command_handler(command: Command, world: Callable[[], World]) -> Callable[[JobContext[Any]], Awaitable[JobResult]]:
    """Return the handler that runs a command.

    It succeeds where the program ends with exit code 0. A timeout and a cancellation reach everything that the program
    has started.

    Args:
        command: What to run.
        world: Returns where tasks and timers come from.
    """

    async def run_command(ctx: JobContext[Any]) -> JobResult:
        def log(stream: Stream, line: str) -> None:
            ctx.log(line, stream=stream)

        output = ProgramOutput(log)
        run = ProgramRun(world(), output.take)
        await run.start(ProgramStart.of(command))
        try:
            end = await run.wait()
        except asyncio.CancelledError:
            await run.stop(STOP_GRACE_SECONDS)
            raise
        finally:
            output.end()
        name = "the command" if isinstance(command.program, str) else command.program[0]
        return result_of(end, output, name)

    return run_command


def result_of(end: ProgramEnd, output: ProgramOutput, name: str) -> JobResult:
    """Return what is kept of a program that has ended.

    Args:
        end: How it ended.
        output: What it wrote.
        name: What messages call it.
    """
    kept = {"exitCode": end.exit_code, "killedBy": end.killed_by, "output": output.text, "outputBytes": output.bytes}
    if end.exit_code == 0:
        return JobResult(metadata=kept, summary="exit code 0")
    said = f": {output.last_line}" if output.last_line else ""
    message = f"{name} {end}{said}"
    return JobResult(success=False, metadata=kept, summary=message, error={"code": FAILED, "message": message})
