"""Cancels against claims, hand-backs and ends: every answer is true, and no state is illegal (Q13)."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.util import await_only

from mainspring.domain.access import Scope
from mainspring.domain.execution import Outcome, Status
from mainspring.store.queue import endings, finishes
from mainspring.store.runs import executions
from mainspring.store.tables import executions as history
from mainspring.store.tables import executions_live

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.store.engine.database import Database
    from mainspring.store.queue.claims import ClaimedExecution
    from mainspring.store.queue.endings import Cancel
    from tests.store.conftest import Lab

RACES = 2_000
AT_ONCE = 5
"""How many cancels share a transaction: a commit takes longer than what is raced here."""
AHEAD = 20
"""By how many executions one side may be ahead: where it has won before the other begins, nothing is raced."""
WAITING_FOR_A_LOCK = sa.text("select count(*) from pg_locks where not granted")


async def cancel(lab: Lab, execution_id: UUID, scope: Scope | None = None) -> Cancel | None:
    seen_by = scope or Scope(lab.environment)
    return await lab.database.tx(lambda connection: endings.cancel(connection, seen_by, execution_id))


@dataclass(slots=True)
class Race:
    """Nodes that claim, end and give back, and people who cancel, all at once.

    Attributes:
        answers: What each cancel was answered.
        finished: With which status a node has ended an execution that was not cancelled in the queue.
        accepted_at: By the race's own counter, when the answer to a cancel had come.
        claimed_at: When the claims began that took an execution.
        reached: How far into the queue the nodes have claimed.
        moved: Told whenever the nodes or the people have gone further.
    """

    lab: Lab
    ids: Sequence[UUID]
    steps: int = 0
    answers: dict[UUID, Cancel] = field(default_factory=dict["UUID", "Cancel"])
    finished: dict[UUID, Status] = field(default_factory=dict["UUID", Status])
    accepted_at: dict[UUID, int] = field(default_factory=dict["UUID", int])
    claimed_at: defaultdict[UUID, list[int]] = field(default_factory=lambda: defaultdict(list))
    reached: int = 0
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def left(self) -> int:
        return len(self.ids) - len(self.answers)

    async def keep_pace(self, is_close: Callable[[], bool]) -> None:
        """Wait while one side is too far ahead of the other."""
        async with self.moved:
            self.moved.notify_all()
            await self.moved.wait_for(is_close)

    def step(self) -> int:
        self.steps += 1
        return self.steps

    async def node(self) -> None:
        """Claim, and end each or give it back, until nothing is left and everybody has been answered."""
        node_id = self.lab.world.new_id()
        while self.left or await self.lab.scalar(sa.select(sa.func.count()).select_from(executions_live)):
            await self.keep_pace(lambda: not self.left or self.reached <= len(self.answers) + AHEAD)
            began = self.step()
            claimed = await self.lab.claim(20, node_id=node_id)
            for item in claimed:
                self.claimed_at[item.id].append(began)
                self.reached = max(self.reached, self.ids.index(item.id) + 1)
            wanted = await self.lab.database.read(
                lambda connection: executions.cancel_requests(connection, self.lab.environment, node_id)
            )
            await self.lab.database.tx(lambda connection, them=claimed, stop=wanted: self.end(connection, them, stop))

    def end(self, connection: sa.Connection, claimed: Sequence[ClaimedExecution], unwanted: Sequence[UUID]) -> None:
        """Stop what somebody wants stopped; of the rest, succeed, fail, retry or hand back a quarter each."""
        back = [item for item in claimed if item.id not in unwanted and item.id.int % 4 > 1 and item.attempt < 3]
        ends: list[finishes.Finish] = []
        for item in claimed:
            if item not in back:
                status = Status.FAILED if item.id.int % 4 else Status.SUCCEEDED
                ends.append(self.lab.end(item, Status.CANCELLED if item.id in unwanted else status))
        for end in ends:
            self.finished[end.id] = end.status
        finishes.finish(connection, self.lab.environment, ends)
        releases = [
            self.lab.back(item, Outcome.FAILED, adds_retry=True)
            if item.id.int % 4 == 3
            else self.lab.back(item, Outcome.INTERRUPTED, retrying=False)
            for item in back
        ]
        finishes.release(connection, self.lab.environment, releases)

    async def person(self, ids: Sequence[UUID]) -> None:
        scope = Scope(self.lab.environment)
        for first in range(0, len(ids), AT_ONCE):
            await self.keep_pace(lambda: len(self.answers) <= self.reached + AHEAD)
            asked = ids[first : first + AT_ONCE]
            answers = await self.lab.database.tx(
                lambda connection, asked=asked: [endings.cancel(connection, scope, each) for each in asked]
            )
            for execution_id, answer in zip(asked, answers, strict=True):
                assert answer is not None
                self.answers[execution_id] = answer
                if answer.is_accepted:
                    self.accepted_at[execution_id] = self.step()
        async with self.moved:
            self.moved.notify_all()

    def check(self, execution_id: UUID, final: Status) -> str:
        """Check that the answer to a cancel was true, and return which kind of answer it was."""
        answer = self.answers[execution_id]
        if not answer.is_accepted:
            assert final is answer.after.status is self.finished[execution_id]
            return "refused"
        accepted = self.accepted_at[execution_id]
        assert not [began for began in self.claimed_at[execution_id] if began > accepted], "it was started again"
        if answer.after.status is Status.CANCELLED:
            assert final is Status.CANCELLED
            return f"cancelled while {answer.before.status}"
        assert (answer.after.status, answer.after.cancel_requested) == (Status.RUNNING, True)
        assert final in {Status.CANCELLED, self.finished.get(execution_id)}
        return f"stopped: {final}"


async def test_two_thousand_cancels_raced_against_claims_and_ends_are_answered_truly(lab: Lab) -> None:
    ids = await lab.enqueue(*(lab.new(max_retries=5) for _ in range(RACES)))
    race = Race(lab, ids)
    people = [race.person(ids[start::4]) for start in range(4)]
    await asyncio.gather(race.node(), race.node(), *people)
    rows = await lab.database.read(lambda connection: connection.execute(sa.select(history.c.id, history.c.status)))
    ended = [(row.id, Status(row.status)) for row in rows]
    assert sorted(execution_id for execution_id, _ in ended) == sorted(ids), "each has ended once"
    kinds = Counter(race.check(execution_id, final) for execution_id, final in ended)
    assert {"refused", "cancelled while queued", "cancelled while retrying"} <= set(kinds), kinds


async def test_what_is_given_back_at_the_moment_of_the_cancel_is_cancelled(
    postgresql: Database, lab_on: Callable[[Database], Lab]
) -> None:
    lab = lab_on(postgresql)
    execution_id = await lab.enqueue_one()
    claimed = await lab.claim_one()
    given_back, go_on = asyncio.Event(), asyncio.Event()

    def give_back(connection: sa.Connection) -> None:
        finishes.release(connection, lab.environment, [lab.back(claimed, Outcome.INTERRUPTED, retrying=False)])
        given_back.set()
        await_only(go_on.wait())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(postgresql.tx(give_back))
        await given_back.wait()
        answer = tasks.create_task(cancel(lab, execution_id))
        while not await postgresql.read(lambda connection: connection.execute(WAITING_FOR_A_LOCK).scalar()):
            await lab.world.sleep(0.01)
        go_on.set()
    done = answer.result()
    assert done is not None
    assert (done.is_accepted, done.before.status, done.after.status) == (True, Status.QUEUED, Status.CANCELLED)


async def test_what_runs_is_asked_to_stop_and_asking_twice_is_accepted_twice(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    await lab.claim_one()
    for _ in range(2):
        done = await cancel(lab, execution_id)
        assert done is not None
        assert (done.is_accepted, done.after.status, done.after.cancel_requested) == (True, Status.RUNNING, True)


async def test_what_has_ended_is_not_cancelled(lab: Lab) -> None:
    execution_id = await lab.enqueue_one()
    await lab.succeed(await lab.claim_one())
    done = await cancel(lab, execution_id)
    assert done is not None
    assert (done.is_accepted, done.after.status) == (False, Status.SUCCEEDED)


async def test_what_the_scope_does_not_see_is_not_touched(lab: Lab) -> None:
    execution_id = await lab.enqueue_one(organization_id="acme")
    assert await cancel(lab, execution_id, Scope(lab.environment, "globex")) is None
    assert await lab.status(execution_id) is Status.QUEUED


async def test_a_cancel_gives_the_room_under_a_limit_to_the_next_one(lab: Lab) -> None:
    first, second = await lab.enqueue(*(lab.new(limit_key="k", limit_max=1) for _ in range(2)))
    await cancel(lab, first)
    assert (await lab.claim_one()).id == second
