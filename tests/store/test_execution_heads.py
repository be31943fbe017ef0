"""How far executions are, told by two numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Scope
from mainspring.domain.execution import Progress
from mainspring.store.queue import progress_reports
from mainspring.store.queue.progress_reports import Report
from mainspring.store.runs import execution_heads, run_logs
from mainspring.store.runs.run_logs import WrittenLine

if TYPE_CHECKING:
    from uuid import UUID

    from mainspring.store.queue.claims import ClaimedExecution
    from mainspring.store.runs.execution_heads import Head
    from tests.store.conftest import Lab, StoreClock


async def heads(lab: Lab, *ids: UUID, environment: str = "test") -> dict[UUID, Head]:
    return await lab.database.read(
        lambda connection: execution_heads.live_heads(connection, Scope(environment), list(ids))
    )


async def say(lab: Lab, claimed: ClaimedExecution, *, report: bool = False) -> None:
    if report:
        half = Report(claimed.id, claimed.fence, Progress(percent=50))
        await lab.database.tx(lambda connection: progress_reports.write(connection, reports=[half]))
    else:
        line = WrittenLine(claimed.id, claimed.fence, claimed.attempt, lab.world.now(), "info", "said", None)
        await lab.database.tx(lambda connection: run_logs.write(connection, [line]))


async def test_a_head_moves_with_each_fact_and_each_line(lab: Lab, clock: StoreClock) -> None:
    execution_id = await lab.enqueue_one()
    seen = [(await heads(lab, execution_id))[execution_id]]
    clock.advance(1)
    claimed = await lab.claim_one()
    seen.append((await heads(lab, execution_id))[execution_id])
    await say(lab, claimed)
    seen.append((await heads(lab, execution_id))[execution_id])
    clock.advance(1)
    await say(lab, claimed, report=True)
    seen.append((await heads(lab, execution_id))[execution_id])
    assert len(set(seen)) == 4
    assert [head.last_line is None for head in seen] == [True, True, False, False]
    assert [head.updated_at for head in seen] == sorted(head.updated_at for head in seen)


async def test_what_has_ended_has_no_head_and_neither_has_what_nobody_asked_for(lab: Lab) -> None:
    ended, _other, waiting = [await lab.enqueue_one(priority=priority) for priority in (3, 2, 1)]
    await lab.succeed(*await lab.claim(1))
    assert set(await heads(lab, ended, waiting, lab.world.new_id())) == {waiting}


async def test_another_environment_is_not_looked_into(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    assert await heads(lab, execution_id, environment="prod") == {}
