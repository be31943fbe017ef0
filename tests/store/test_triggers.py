"""A run that is asked for at once: never while another one of the job has not ended, whoever asks at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.job import JobDefinition, Overlap
from mainspring.domain.schedule import Cron
from mainspring.errors import JobNotFoundError
from mainspring.jobs.registry import JobRegistry
from mainspring.store.jobs import registration, retirement
from mainspring.store.queue import triggers

if TYPE_CHECKING:
    from tests.store.clockwork import Clockwork
    from tests.store.conftest import Lab

NIGHTLY = JobDefinition("nightly", schedule=Cron("0 2 * * *"), schedule_payload={"all": True}, queue="slow")
ANY_NUMBER = JobDefinition("any-number", schedule=Cron("0 2 * * *"), overlap=Overlap.ALLOW)
BOTH = pytest.mark.parametrize("definition", [NIGHTLY, ANY_NUMBER], ids=lambda definition: definition.name)


async def declare(lab: Lab, *definitions: JobDefinition) -> None:
    registry = JobRegistry()
    for definition in definitions:
        registry.add(definition, lambda: None)
    await lab.database.tx(lambda connection: registration.register(connection, lab.firing, registry))


async def trigger(lab: Lab, name: str, user_id: str | None = "ada") -> bool:
    execution_id = lab.world.new_id()
    return await lab.database.tx(
        lambda connection: triggers.trigger(connection, lab.environment, name, execution_id, user_id=user_id)
    )


async def test_a_triggered_run_is_as_a_scheduled_one_and_says_who_wanted_it(lab: Lab) -> None:
    await declare(lab, NIGHTLY)
    assert await trigger(lab, "nightly")
    [claimed] = await lab.claim(names=("nightly",), queues=("slow",))
    execution = await lab.get(claimed.id)
    assert (execution.payload, execution.trigger, execution.user_id) == ({"all": True}, Trigger.ADMIN, "ada")
    assert (execution.max_retries, execution.organization_id, execution.scheduled_for) == (0, None, None)


@BOTH
async def test_it_is_refused_while_a_run_is_queued_or_running_or_retrying(lab: Lab, definition: JobDefinition) -> None:
    await declare(lab, definition)
    assert await trigger(lab, definition.name)
    assert not await trigger(lab, definition.name)  # queued
    [claimed] = await lab.claim(names=(definition.name,), queues=(definition.queue,))
    assert not await trigger(lab, definition.name)  # running
    await lab.release(claimed, wait_seconds=60.0)
    assert (await lab.get(claimed.id)).status is Status.RETRYING
    assert not await trigger(lab, definition.name)
    await lab.promote()


@BOTH
async def test_once_the_run_has_ended_the_next_is_accepted(lab: Lab, definition: JobDefinition) -> None:
    await declare(lab, definition)
    assert await trigger(lab, definition.name)
    await lab.succeed(*await lab.claim(names=(definition.name,), queues=(definition.queue,)))
    assert await trigger(lab, definition.name)


@BOTH
async def test_of_many_who_ask_at_once_one_is_heard(lab: Lab, definition: JobDefinition) -> None:
    await declare(lab, definition)
    for _ in range(5):
        heard = await asyncio.gather(*(trigger(lab, definition.name) for _ in range(8)))
        assert sum(heard) == 1
        await lab.succeed(*await lab.claim(names=(definition.name,), queues=(definition.queue,)))


async def test_the_schedule_and_whoever_asks_at_the_same_time_do_not_both_run(clockwork: Clockwork) -> None:
    lab = clockwork.lab
    await clockwork.declare(JobDefinition("minutely", schedule=Cron("* * * * *")))
    for _ in range(5):
        await clockwork.go_to_minute(second=0.5)
        await asyncio.gather(clockwork.fire(), trigger(lab, "minutely"))
        assert len(await clockwork.live()) == 1
        await lab.succeed(*await lab.claim(names=("minutely",)))


async def test_a_job_that_is_unknown_or_retired_is_told(lab: Lab) -> None:
    await declare(lab, NIGHTLY)
    with pytest.raises(JobNotFoundError):
        await trigger(lab, "nowhere")
    await lab.database.tx(lambda connection: retirement.retire_others(connection, lab.environment, None, ["other"]))
    with pytest.raises(JobNotFoundError):
        await trigger(lab, "nightly")
