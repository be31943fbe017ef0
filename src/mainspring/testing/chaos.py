"""Kills a job at each of its checkpoints, runs it again, and compares what it has done with an undisturbed run.

Example:
    >>> async def test_nobody_is_charged_twice() -> None:
    ...     report = await chaos.run(app, charge, Order(7), effects=lambda: bank.charges, reset=bank.charges.clear)
    ...     report.assert_same()
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.execution import Status
from mainspring.errors import MainspringError
from mainspring.testing.application_kit import kit
from mainspring.testing.chaos_report import KillPoint, Moment, Report, Trial
from mainspring.testing.expectations import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mainspring.app import Mainspring
    from mainspring.control.handles import ExecutionHandle, JobHandle
    from mainspring.jobs.context import ContextSink, JobContext, LogLine
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.runtime.local_executor import Executor
    from mainspring.testing.application_kit import Kit

__all__ = ["KillPoint", "Moment", "Report", "Trial", "run"]

_TO_ITS_END: Final = timedelta(days=2)
"""Longer than any attempt takes, and than its retries wait."""


async def run(
    app: Mainspring,
    job: str | JobHandle[Any, Any],
    payload: object = None,
    *,
    effects: Callable[[], object],
    reset: Callable[[], object] | None = None,
    **settings: Any,  # noqa: ANN401 - the settings of the application, checked by their own model
) -> Report:
    """Kill a job before its first line, at each of its checkpoints and after its last line, and run it again.

    Each time the worker is gone as if its machine had lost its power, so that no `except` and no `finally` of the
    handler runs; the lease ends, another worker runs the execution again, and what is left is compared. Schedules do
    not fire meanwhile.

    Args:
        app: The application, neither connected nor running.
        job: The job, by its name or handle.
        payload: What it is to work on.
        effects: Returns what the job has done to the world, in a form that can be compared; may be asynchronous.
        reset: Takes the effects back before each run; may be asynchronous. By default nothing has to be taken back.
        **settings: Settings of the application to test it with, by name, and `at=` as for `testing.kit`.

    Returns:
        The report; `report.assert_same()` fails the test.

    Raises:
        MainspringError: The job does not succeed undisturbed, or the effects of a run are there before the next one.
    """
    experiment = _Experiment(app, name_of(job), payload, effects, reset, settings)
    expected, checkpoints = await experiment.undisturbed()
    trials = [await experiment.killed(point, expected) for point in _points(checkpoints)]
    return Report(experiment.name, expected, checkpoints, trials)


def _points(checkpoints: int) -> list[KillPoint]:
    around = (Moment.BEFORE_CHECKPOINT, Moment.AFTER_CHECKPOINT)
    at_checkpoints = [KillPoint(moment, number) for number in range(1, checkpoints + 1) for moment in around]
    return [KillPoint(Moment.BEGIN), *at_checkpoints, KillPoint(Moment.END)]


@dataclass(slots=True)
class _Experiment:
    """A job with its payload, run again and again from the same beginning."""

    app: Mainspring
    name: str
    payload: object
    effects: Callable[[], object]
    reset: Callable[[], object] | None
    settings: dict[str, Any]
    before: list[object] = field(default_factory=list[object])

    async def undisturbed(self) -> tuple[object, int]:
        """Return what the job leaves when nothing happens to it, and how many checkpoints it keeps."""
        killer = _Killer(self.name, None)
        async with self._asked_for(killer) as (own, execution):
            await own.advance(_TO_ITS_END)
            ended = await execution.fetch()
            if ended.status is not Status.SUCCEEDED:
                raise MainspringError(
                    f"job {self.name!r} does not succeed with this payload although nobody kills it: it is "
                    f"{ended.status}, {ended.error_message}. What it leaves when it is killed cannot be judged"
                )
            return await self._effects_now(), killer.checkpoints

    async def killed(self, point: KillPoint, expected: object) -> Trial:
        """Return what the job leaves when it is killed at a point, and run again."""
        killer = _Killer(self.name, point)
        async with self._asked_for(killer) as (own, execution):
            await killer.strike(own)
            await own.advance(_TO_ITS_END)
            ended = await execution.fetch()
            effects = await self._effects_now()
        is_same = ended.status is Status.SUCCEEDED and effects == expected
        return Trial(point, effects, ended.status, is_same)

    @asynccontextmanager
    async def _asked_for(self, killer: _Killer) -> AsyncGenerator[tuple[Kit, ExecutionHandle[Any]]]:
        await self._begin_anew()
        async with kit(self.app, wrapped=killer.around, schedules=False, **self.settings) as own:
            yield own, await self.app.enqueue(self.name, self.payload)

    async def _begin_anew(self) -> None:
        if self.reset is not None:
            await _called(self.reset)
        now = await self._effects_now()
        if not self.before:
            self.before.append(now)
        elif self.before != [now]:
            raise MainspringError(
                f"job {self.name!r} cannot be run again from the same beginning: there was {self.before[0]!r} before "
                f"the first run, and there is {now!r} now. Give `chaos.run` a `reset` that takes its effects back"
            )

    async def _effects_now(self) -> object:
        return copy.deepcopy(await _called(self.effects))


async def _called(function: Callable[[], object]) -> object:
    answer = function()
    return await answer if inspect.isawaitable(answer) else answer


class _Killer:
    """Stops a job for ever when its first attempt comes to a point, and counts its checkpoints on the way."""

    def __init__(self, job: str, point: KillPoint | None) -> None:
        self._job = job
        self._point = point
        self._reached = asyncio.Event()
        self.checkpoints = 0

    def around(self, executor: Executor) -> Executor:
        """Return an executor that stops at the point."""
        return _Deadly(executor, self)

    def is_after(self, context: JobContext[Any]) -> bool:
        """Whether an attempt is the one to be killed."""
        return context.job_name == self._job and context.attempt == 1

    async def pass_by(self, point: KillPoint) -> None:
        """Go on, or at the point, the first time, never again."""
        if point == self._point and not self._reached.is_set():
            self._reached.set()
            await asyncio.get_running_loop().create_future()

    async def strike(self, own: Kit) -> None:
        """Let the job run to the point, and kill its worker."""
        world = own.app.world
        running = world.spawn(own.advance(_TO_ITS_END), name=f"chaos-{self._job}")
        reached = world.spawn(self._reached.wait(), name="chaos-point")
        await asyncio.wait({running, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if self._reached.is_set():
            own.kill_worker()
        await running


class _Deadly:
    def __init__(self, executor: Executor, killer: _Killer) -> None:
        self._executor = executor
        self._killer = killer

    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> object:
        if not self._killer.is_after(context):
            return await self._executor.execute(job, context)
        await self._killer.pass_by(KillPoint(Moment.BEGIN))
        context.sink = _Watched(context.sink, self._killer)
        returned = await self._executor.execute(job, context)
        await self._killer.pass_by(KillPoint(Moment.END))
        return returned


class _Watched:
    """What a handler speaks to while somebody waits for its checkpoints."""

    def __init__(self, sink: ContextSink, killer: _Killer) -> None:
        self._sink = sink
        self._killer = killer

    def log(self, context: JobContext[Any], line: LogLine) -> None:
        self._sink.log(context, line)

    def progressed(self, context: JobContext[Any]) -> None:
        self._sink.progressed(context)

    def beat(self, context: JobContext[Any]) -> None:
        self._sink.beat(context)

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        killer = self._killer
        killer.checkpoints += 1
        number = killer.checkpoints
        await killer.pass_by(KillPoint(Moment.BEFORE_CHECKPOINT, number))
        await self._sink.save_checkpoint(context, value)
        await killer.pass_by(KillPoint(Moment.AFTER_CHECKPOINT, number))
