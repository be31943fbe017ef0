"""Many executions at once: cancelled or retried in one transaction, each by the rules of the single command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import Actor, Scope
from mainspring.domain.execution import Status
from mainspring.store.queue import endings
from mainspring.store.recovery import requeue_failed
from mainspring.store.runs import executions, saved_views
from mainspring.store.runs.saved_views import SavedView

if TYPE_CHECKING:
    from uuid import UUID

    import sqlalchemy as sa

    from mainspring.store.queue.endings import Cancel
    from tests.store.conftest import Lab

EVERYBODY = Scope("test")


async def test_what_waits_and_what_runs_is_cancelled_and_what_has_ended_stays(lab: Lab) -> None:
    ended = await lab.enqueue_one()
    await lab.succeed(await lab.claim_one())
    runs = await lab.enqueue_one()
    await lab.claim_one()
    waits = [await lab.enqueue_one() for _ in range(3)]
    foreign = await lab.enqueue_one(organization_id="acme")
    ids = [ended, runs, *waits, foreign, lab.world.new_id()]

    def cancel(connection: sa.Connection, scope: Scope) -> dict[UUID, Cancel]:
        return {one.before.id: one for one in endings.cancel_each(connection, scope, ids)}

    of_acme = await lab.database.tx(lambda connection: cancel(connection, Scope("test", "acme")))
    assert set(of_acme) == {foreign}
    came = await lab.database.tx(lambda connection: cancel(connection, EVERYBODY))
    assert {run_id for run_id, one in came.items() if one.is_accepted} == {runs, *waits}
    assert (came[ended].after.status, came[runs].after.cancel_requested) == (Status.SUCCEEDED, True)
    assert {came[run_id].after.status for run_id in waits} == {Status.CANCELLED}


async def test_of_two_with_one_unique_key_the_older_one_is_retried(lab: Lab) -> None:
    plain = await lab.enqueue_one(max_retries=3)
    twins: list[UUID] = []
    for _ in range(2):
        twins.append(await lab.enqueue_one(max_retries=3, unique_key="one"))
        for claimed in await lab.claim():
            await lab.finish(lab.end(claimed, Status.FAILED))

    def retry(connection: sa.Connection) -> dict[UUID, UUID | None]:
        failed = executions.get_each(connection, EVERYBODY, [plain, *twins])
        again = requeue_failed.retry_each(connection, failed)
        assert requeue_failed.retry_each(connection, failed) == again | {
            plain: None,
            twins[0]: None,
        }  # those two are gone
        return again

    assert await lab.database.tx(retry) == {twins[1]: twins[0]}
    for run_id in (plain, twins[0]):
        found = await lab.get(run_id)
        assert (found.status, found.retry_count) == (Status.QUEUED, 1)
        tries = await lab.database.read(lambda connection, run=found: executions.earlier_attempts(connection, run))
        assert len(tries) == 1


async def test_a_view_belongs_to_its_owner_and_keeps_its_last_address(lab: Lab) -> None:
    ada, grace = Actor.at_terminal("test", "ada"), Actor.at_terminal("test", "grace")

    def save(connection: sa.Connection) -> None:
        for owner, address in ((ada, "q=one"), (grace, "q=two"), (ada, "q=three")):
            assert saved_views.save(connection, owner, SavedView("mine", address))

    await lab.database.tx(save)
    found = await lab.database.read(lambda connection: [saved_views.of_owner(connection, who) for who in (ada, grace)])
    assert found == [[SavedView("mine", "q=three")], [SavedView("mine", "q=two")]]
    assert await lab.database.tx(lambda connection: saved_views.remove(connection, ada, "mine"))
