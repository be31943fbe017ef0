"""Queues: what somebody says of one is obeyed by every claim, written with old and new, and told with its load."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from mainspring.control.organizations import LimitOutOfRangeError
from mainspring.control.queues import QueueCommands, UnfitQueueError
from mainspring.control.schedules import PastInstantError, VersionConflictError
from mainspring.domain.access import Actor, ActorKind, Role, Scope
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Audit
from mainspring.store.engine.signals import WORK, Signals
from mainspring.store.queue import queues
from mainspring.store.queue.queues import StoredQueue
from tests.audited_things import audit_trail
from tests.store.audit_trail import KEY, ROOT

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Database
    from mainspring.world import RealWorld
    from tests.store.conftest import Lab, StoreClock


@pytest.fixture
def signals(world: RealWorld) -> Signals:
    return Signals(world)


@pytest.fixture
def commands(database: Database, world: RealWorld, signals: Signals) -> QueueCommands:
    return QueueCommands(database, Audit(database, world, KEY), signals, world)


async def find(lab: Lab, name: str = "mail") -> StoredQueue:
    found = await lab.database.read(lambda connection: queues.find(connection, lab.environment))
    return next((queue for queue in found if queue.name == name), StoredQueue(name))


async def trail(database: Database) -> list[AuditEntry]:
    found = await database.read(lambda connection: audit_trail(connection, Scope("test"), target_id="mail"))
    return [entry for entry, _mac in found]


async def backlog(lab: Lab, count: int, **fields: Any) -> None:
    await lab.enqueue(*(lab.new(queue="mail", **fields) for _ in range(count)))


async def claimed(lab: Lab, slots: int = 100) -> int:
    """Claim with two nodes from two queues, and return how many came from the queue of the tests."""
    first = await lab.claim(slots, queues=("mail", "default"))
    second = await lab.claim(slots, queues=("default", "mail"), node_id=lab.world.new_id())
    return sum(item.queue == "mail" for item in [*first, *second])


@pytest.mark.parametrize("fields", [{}, {"organization_id": "acme"}], ids=["platform", "organization"])
async def test_no_more_of_a_queue_run_at_once_than_its_limit_says(
    lab: Lab, commands: QueueCommands, fields: dict[str, Any]
) -> None:
    await commands.limit(ROOT, "mail", 3)
    await backlog(lab, 10, **fields)
    await lab.enqueue_one(queue="default")
    assert await claimed(lab) == 3
    assert await claimed(lab) == 0
    await commands.limit(ROOT, "mail", 5)
    assert await claimed(lab) == 2
    await commands.limit(ROOT, "mail", None)
    assert await claimed(lab) == (5 if not fields else 0)  # an organization has its own limit of 5


async def test_what_ends_makes_room(lab: Lab, commands: QueueCommands) -> None:
    await commands.limit(ROOT, "mail", 1)
    await backlog(lab, 2)
    [first] = await lab.claim(queues=("mail",))
    assert await lab.claim(queues=("mail",)) == []
    await lab.succeed(first)
    assert len(await lab.claim(queues=("mail",))) == 1


async def test_both_kinds_of_executions_share_the_room(lab: Lab, commands: QueueCommands) -> None:
    await commands.limit(ROOT, "mail", 4)
    await backlog(lab, 5)
    await backlog(lab, 5, organization_id="acme")
    assert await claimed(lab) == 4


async def test_nothing_of_a_paused_queue_is_claimed_until_it_is_resumed_or_its_time_has_come(
    lab: Lab, commands: QueueCommands, clock: StoreClock
) -> None:
    await backlog(lab, 2)
    await commands.pause(ROOT, "mail", reason="the provider is down", until=lab.world.now() + timedelta(hours=1))
    assert await claimed(lab) == 0
    pause = (await find(lab)).pause
    assert pause is not None
    assert (pause.by, pause.reason) == (ROOT.subject, "the provider is down")
    clock.advance(3601)
    assert (await find(lab)).pause is None
    assert await claimed(lab, 1) == 2

    await backlog(lab, 1)
    await commands.pause(ROOT, "mail")
    assert await claimed(lab) == 0
    await commands.resume(ROOT, "mail")
    assert await claimed(lab) == 1


async def test_each_change_is_written_with_old_and_new_and_wakes_the_workers(
    lab: Lab, commands: QueueCommands, signals: Signals
) -> None:
    woken = signals.wakeup(WORK)
    await commands.limit(ROOT, "mail", 7, reason="their limit")
    assert await woken.sleep(0)
    await commands.limit(ROOT, "mail", None)
    await commands.pause(ROOT, "mail")
    await commands.resume(ROOT, "mail")
    written = [
        (entry.action, orjson.loads(entry.before or "0"), orjson.loads(entry.after or "0"), entry.reason)
        for entry in reversed(await trail(lab.database))
    ]
    assert written == [
        ("queue.limit", {"maxRunning": None}, {"maxRunning": 7}, "their limit"),
        ("queue.limit", {"maxRunning": 7}, {"maxRunning": None}, None),
        ("queue.pause", {"paused": False, "until": None}, {"paused": True, "until": None}, None),
        ("queue.resume", {"paused": True, "until": None}, {"paused": False, "until": None}, None),
    ]


async def test_who_saw_an_older_version_changes_nothing(lab: Lab, commands: QueueCommands) -> None:
    seen = (await find(lab)).version
    await commands.limit(ROOT, "mail", 7, version=seen)
    with pytest.raises(VersionConflictError, match="has changed since"):
        await commands.limit(ROOT, "mail", 8, version=seen)
    assert (await find(lab)).max_running == 7


@pytest.mark.parametrize(
    ("role", "organization"), [(Role.VIEWER, None), (Role.ADMIN, "acme")], ids=["viewer", "of an organization"]
)
async def test_only_staff_who_may_write_change_queues(
    lab: Lab, commands: QueueCommands, role: Role, organization: str | None
) -> None:
    somebody = Actor("somebody", ActorKind.USER, "test", organization, role.permissions, sees_organization=True)
    with pytest.raises(PermissionDeniedError):
        await commands.pause(somebody, "mail")
    [denied] = await trail(lab.database)
    assert (denied.action, denied.allowed) == ("queue.pause", False)
    assert (await find(lab)).pause is None


async def test_what_cannot_be_is_refused(lab: Lab, commands: QueueCommands) -> None:
    with pytest.raises(LimitOutOfRangeError):
        await commands.limit(ROOT, "mail", -1)
    with pytest.raises(PastInstantError):
        await commands.pause(ROOT, "mail", until=lab.world.now() - timedelta(seconds=1))
    with pytest.raises(UnfitQueueError):
        await commands.pause(ROOT, " ")


async def test_the_load_of_a_queue_is_what_runs_and_what_could(
    lab: Lab, commands: QueueCommands, clock: StoreClock
) -> None:
    await backlog(lab, 3)
    await lab.claim(1, queues=("mail",))
    clock.advance(90)
    await backlog(lab, 1, run_at=lab.world.now() + timedelta(hours=9))
    found = await find(lab)
    assert (found.running, found.waiting, found.max_running, found.pause) == (1, 2, None, None)
    assert found.oldest_seconds == pytest.approx(90, abs=10)
    await commands.limit(ROOT, "idle", 2)
    assert await find(lab, "idle") == StoredQueue("idle", max_running=2, version=2)
