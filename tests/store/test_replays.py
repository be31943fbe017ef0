"""Fix and replay: each execution once, a canary first, and a stop where the same error comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.domain.execution import Status
from mainspring.domain.replay import Progress, Replay, ReplayPlan, ReplayStatus
from mainspring.store.coordination import cluster
from mainspring.store.engine.dialect import store_now
from mainspring.store.recovery import replays
from mainspring.store.tables import executions, executions_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.queue.claims import ClaimedExecution
    from tests.store.conftest import Lab, StoreClock

ERROR = "f00d"


async def failed(lab: Lab, count: int, fingerprint: str = ERROR, **fields: Any) -> list[UUID]:
    """Let executions fail, and return their ids."""
    node_id = fields.pop("node_id", None)
    ids = await lab.enqueue(*(lab.new(payload=f'{{"n":{n}}}', **fields) for n in range(count)))
    await end(lab, await lab.claim(node_id=node_id), Status.FAILED, fingerprint)
    return ids


async def end(lab: Lab, claimed: Sequence[ClaimedExecution], status: Status, fingerprint: str = ERROR) -> None:
    said = {} if status is Status.SUCCEEDED else {"error_fingerprint": fingerprint, "error_message": "no such table"}
    await lab.finish(*(lab.end(item, status, **said) for item in claimed))


def new(lab: Lab, plan: ReplayPlan, **fields: Any) -> Replay:
    replay = Replay(
        id=lab.world.new_id(),
        environment=lab.environment,
        job_name="job",
        fingerprint=ERROR,
        code_version=None,
        failed_from=None,
        failed_until=None,
        plan=plan,
        status=ReplayStatus.CANARY,
        progress=Progress(0),
        created_by="ada",
        reason=None,
        ended_by=None,
        created_at=lab.world.now(),
        ended_at=None,
    )
    return replace(replay, **fields)


async def begin(lab: Lab, plan: ReplayPlan, **fields: Any) -> Replay:
    replay = new(lab, plan, **fields)
    await lab.database.tx(lambda connection: replays.add(connection, replay))
    return replay


async def advance(lab: Lab) -> Replay | None:
    return await lab.database.tx(lambda connection: replays.advance(connection, lab.environment, lab.world.new_id))


async def found(lab: Lab, replay: Replay) -> Replay:
    stored = await lab.database.read(lambda connection: replays.get(connection, lab.environment, replay.id))
    assert stored is not None
    return stored


async def run_to_its_end(lab: Lab, clock: StoreClock, status: Status = Status.SUCCEEDED) -> list[ClaimedExecution]:
    """Go on until nothing is to be done any more, and return what was run again."""
    ran: list[ClaimedExecution] = []
    for _ in range(50):
        await advance(lab)
        claimed = await lab.claim()
        await end(lab, claimed, status)
        ran += claimed
        clock.advance(2.1)
        if await lab.database.read(lambda connection: replays.seconds_to_next(connection, lab.environment)) is None:
            return ran
    raise AssertionError("it does not come to an end")


async def lineage(lab: Lab) -> list[UUID]:
    """Return what was run again, once for each time."""

    def read(connection: Any) -> list[UUID]:
        of = [
            connection.execute(sa.select(table.c.replay_of).where(table.c.replay_of.is_not(None))).scalars()
            for table in (executions, executions_live)
        ]
        return [execution_id for ids in of for execution_id in ids]

    return await lab.database.read(read)


async def test_a_few_come_first_and_the_rest_at_the_rate(lab: Lab, clock: StoreClock) -> None:
    ids = await failed(lab, 12)
    replay = await begin(lab, ReplayPlan(canary=2, per_minute=120, stop_after=1))
    await advance(lab)
    canary = await lab.claim()
    assert len(canary) == 2
    clock.advance(2.1)
    await advance(lab)
    assert await lab.claim() == [], "the others wait until all of the first have ended"
    await end(lab, canary, Status.SUCCEEDED)
    clock.advance(2.1)
    await advance(lab)
    rest = await lab.claim()
    assert len(rest) == 4
    await end(lab, rest, Status.SUCCEEDED)
    clock.advance(2.1)
    await run_to_its_end(lab, clock)
    stored = await found(lab, replay)
    assert (stored.status, stored.progress) == (ReplayStatus.FINISHED, Progress(12, 12, 12))
    assert sorted(await lineage(lab)) == sorted(ids)


async def test_what_is_run_again_is_what_failed(lab: Lab) -> None:
    (failed_id,) = await failed(
        lab, 1, organization_id="acme", user_id="ada", priority=7, max_retries=2, limit_key="job", limit_max=3
    )
    await begin(lab, ReplayPlan())
    await advance(lab)
    execution = await lab.claim_one()
    assert (execution.organization_id, execution.priority, execution.max_retries) == ("acme", 7, 2)
    assert (execution.payload, execution.limit_key) == ('{"n":0}', "job")
    again = await lab.get(execution.id)
    assert (again.replay_of, again.user_id, again.trigger) == (failed_id, "ada", "admin")


async def test_it_stops_where_the_same_error_comes_back_and_gives_the_rest_back(lab: Lab, clock: StoreClock) -> None:
    await failed(lab, 10)
    replay = await begin(lab, ReplayPlan(canary=3, stop_after=1))
    ran = await run_to_its_end(lab, clock, Status.FAILED)
    stored = await found(lab, replay)
    assert (len(ran), stored.status) == (3, ReplayStatus.STOPPED)
    assert (stored.progress.failed_same, stored.ended_at is not None) == (3, True)
    again = await begin(lab, ReplayPlan())
    assert (await found(lab, again)).progress.requested == 10, "seven were given back, three failed once more"


async def test_another_error_does_not_stop_it(lab: Lab, clock: StoreClock) -> None:
    await failed(lab, 2)
    replay = await begin(lab, ReplayPlan(canary=1))
    await advance(lab)
    await end(lab, await lab.claim(), Status.FAILED, "another")
    clock.advance(2.1)
    await run_to_its_end(lab, clock)
    assert (await found(lab, replay)).progress == Progress(2, 2, 1, 0, 1)


async def test_only_what_is_asked_for_is_run_again(lab: Lab, clock: StoreClock) -> None:
    node = cluster.NodeEntry(
        id=lab.world.new_id(), environment="test", name="new", host="h", pid=1, roles=("worker",), version="0",
        slots=1, code_version="v2",
    )  # fmt: skip
    await lab.database.tx(lambda connection: cluster.register(connection, node, lease_seconds=15.0))
    await failed(lab, 3)
    await failed(lab, 1, "another")
    await failed(lab, 2, node_id=node.id)
    clock.advance(100)
    border = await lab.scalar(sa.select(store_now()))
    await failed(lab, 4)

    async def requested(**fields: Any) -> int:
        return await lab.database.read(lambda connection: replays.count(connection, new(lab, ReplayPlan(), **fields)))

    assert await requested() == 9
    assert await requested(code_version="v2") == 2
    assert await requested(failed_from=border) == 4
    assert await requested(failed_until=border) == 5
    assert await requested(fingerprint="another") == 1
    assert await requested(job_name="other") == 0
    assert await requested(environment="prod") == 0


async def test_nodes_that_race_run_nothing_twice(lab: Lab, clock: StoreClock) -> None:
    ids = await failed(lab, 20)
    first, second = new(lab, ReplayPlan(canary=20)), new(lab, ReplayPlan(canary=20))
    taken = await asyncio.gather(
        *(
            lab.database.tx(lambda connection, replay=replay: replays.add(connection, replay))
            for replay in (first, second)
        )
    )
    assert sum(taken) == 20
    for _ in range(3):
        await asyncio.gather(*(advance(lab) for _ in range(4)))
        clock.advance(2.1)
    assert sorted(await lineage(lab)) == sorted(ids)


async def test_a_replay_that_is_cancelled_starts_nothing_more(lab: Lab, clock: StoreClock) -> None:
    await failed(lab, 5)
    replay = await begin(lab, ReplayPlan(canary=2))
    await advance(lab)
    assert await lab.database.tx(lambda connection: replays.cancel(connection, replay.id, by="grace"))
    assert not await lab.database.tx(lambda connection: replays.cancel(connection, replay.id, by="grace"))
    clock.advance(10)
    assert await advance(lab) is None
    assert (await found(lab, replay)).ended_by == "grace"
    assert len(await lineage(lab)) == 2


async def test_what_the_history_lost_keeps_no_replay_open(lab: Lab, clock: StoreClock) -> None:
    await failed(lab, 3)
    replay = await begin(lab, ReplayPlan(canary=1))
    await advance(lab)
    await end(lab, await lab.claim(), Status.SUCCEEDED)
    await lab.database.tx(lambda connection: connection.execute(sa.delete(executions)))
    clock.advance(2.1)
    await run_to_its_end(lab, clock)
    assert (await found(lab, replay)).progress == Progress(1, 1, 0, 0, 1)
