"""Executions that were lost once: who waits for a process of its own has not begun, and who begins has said so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from mainspring import JobContext, Mainspring
from mainspring.domain.execution import Trigger
from mainspring.errors import DatabaseUnreachableError, LeaseLostError
from mainspring.runtime import child_process
from mainspring.runtime.child_process import ChildProcessExecutor
from mainspring.runtime.suspects import Suspects
from mainspring.testing.simulation.world import Chance
from mainspring.world import RealWorld
from tests.runtime.child_attempt import RecordingSink

if TYPE_CHECKING:
    from mainspring.jobs.registry import RegisteredJob
    from mainspring.store.engine.database import Database
    from mainspring.world import World

app = Mainspring()


@app.job("suspicious")
async def suspicious() -> None:
    """Do nothing."""


JOB = app.registry.get("suspicious")


def attempt_at(number: int) -> JobContext[Any]:
    return JobContext(UUID(int=number), JOB.definition.name, 2, 7, Trigger.API, "node", None, RecordingSink())


class Store:
    """A store that is away for a while, and an executor: they note what happens.

    Args:
        away: How often it does not answer.
        holds: Whether the attempt still holds its execution.
    """

    def __init__(self, *, away: int = 0, holds: bool = True) -> None:
        self.events: list[str] = []
        self._away = away
        self._holds = holds

    async def tx(self, _work: object) -> bool:
        if self._away:
            self._away -= 1
            self.events.append("is away")
            raise DatabaseUnreachableError("restarting")
        self.events.append("begins")
        return self._holds

    async def execute(self, job: RegisteredJob, context: JobContext[Any]) -> None:
        self.events.append(f"runs {job.definition.name} {context.execution_id.int}")


class Impatient:
    """A world in which nobody waits."""

    def random(self) -> float:
        return Chance(1).random()

    async def sleep(self, _seconds: float) -> None:
        return


def suspects(store: Store) -> Suspects:
    return Suspects(cast("Database", store), cast("World", Impatient()))


async def test_a_suspect_runs_once_the_store_has_it_that_it_begins_however_often_that_is_tried() -> None:
    store = Store(away=2)
    await suspects(store).execute(store, JOB, attempt_at(1))
    assert store.events == ["is away", "is away", "begins", "runs suspicious 1"]


async def test_a_suspect_that_another_attempt_holds_does_not_run() -> None:
    store = Store(holds=False)
    with pytest.raises(LeaseLostError, match="attempt 2 does not begin"):
        await suspects(store).execute(store, JOB, attempt_at(1))
    assert store.events == ["begins"]


async def test_a_suspect_that_waits_for_a_process_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    store, may_go_on, starts = Store(), asyncio.Event(), asyncio.Event()

    class SlowChild:
        def __init__(self, *_arguments: object) -> None: ...

        async def start(self, *_arguments: object) -> None:
            store.events.append("starts")
            starts.set()

        async def begun_or_over(self) -> None:
            await may_go_on.wait()

        async def answered_or_ended(self) -> None: ...

        async def end(self, _grace: float) -> None: ...

        def result(self) -> None: ...

    monkeypatch.setattr(child_process, "_Child", SlowChild)
    executor = ChildProcessExecutor(RealWorld(), "child_jobs:app", starts=1)
    guard = suspects(store)
    async with asyncio.TaskGroup() as tasks:
        for number in (1, 2):
            tasks.create_task(guard.execute(executor, JOB, attempt_at(number)))
        await starts.wait()
        assert store.events == ["begins", "starts"]
        may_go_on.set()
    assert store.events == ["begins", "starts", "begins", "starts"]
