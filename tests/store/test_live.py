"""Who watches is told what has changed, whichever process changed it, and a hub that nobody listens to rests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring.domain.access import Actor
from mainspring.domain.notification import Message
from mainspring.domain.topics import Topic, of_run
from mainspring.errors import DatabaseUnreachableError
from mainspring.live.hub import Hub, Listener
from mainspring.live.turns import turns
from mainspring.security.audit import Audit, Target
from mainspring.store import tables
from mainspring.store.alerting import notifications
from mainspring.store.alerting.notifications import NewNotification
from mainspring.store.engine import live_marks
from mainspring.store.engine.signals import WORK, Signals
from mainspring.store.tables import alerts
from mainspring.world import RealWorld
from tests.store.clockwork import MINUTELY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mainspring.store.engine.live_marks import Marks
    from tests.store.clockwork import Clockwork
    from tests.store.conftest import Lab, StoreClock

_SOON = 5.0


def hub_on(lab: Lab, signals: Signals | None = None, world: RealWorld | None = None) -> Hub:
    """Return the hub of a node that hears nothing of what the test does, unless it is given the signals."""
    used = world or lab.world
    return Hub(lab.database, signals or Signals(used), environment=lab.environment, world=used)


async def look(lab: Lab) -> Marks:
    return await lab.database.read(lambda connection: live_marks.marks(connection, lab.environment))


async def open_alert(lab: Lab) -> None:
    now = lab.world.now()
    row = {
        "id": lab.world.new_id(), "environment": lab.environment, "deduplication_key": "a", "kind": "staleness",
        "severity": "warning", "opened_at": now, "last_seen_at": now, "details": "{}",
    }  # fmt: skip
    await lab.database.tx(lambda connection: connection.execute(sa.insert(alerts), [row]))


async def command(lab: Lab) -> None:
    audit = Audit(lab.database, lab.world, b"the audit key of the tests")
    actor = Actor.at_terminal(lab.environment, "root")
    await lab.database.tx(
        lambda connection: audit.record(connection, actor, "queue.pause", Target("queue", "default"), after={})
    )


async def tell(lab: Lab) -> None:
    new = NewNotification(lab.world.new_id(), "slack", Message("digest is late", "by an hour"))
    await lab.database.tx(lambda connection: notifications.enqueue(connection, lab.environment, [new]))


async def enqueue(lab: Lab) -> None:
    await lab.enqueue_one()


async def claim(lab: Lab) -> None:
    await lab.claim_one()


async def claim_and_succeed(lab: Lab) -> None:
    await lab.succeed(await lab.claim_one())


async def register_node(lab: Lab) -> None:
    await lab.register_node()


@pytest.mark.parametrize(
    ("change", "topics"),
    [
        (enqueue, {Topic.RUNS, Topic.QUEUES}),
        (claim, {Topic.RUNS, Topic.QUEUES, Topic.STATS}),
        (register_node, {Topic.NODES, Topic.SCHEDULES}),
        (open_alert, {Topic.ALERTS}),
        (tell, {Topic.ALERTS}),
        (command, {Topic.RUNS, Topic.SCHEDULES, Topic.QUEUES, Topic.ALERTS}),
    ],
)
async def test_each_change_is_told_under_the_topics_that_show_it(
    lab: Lab, change: Callable[[Lab], Awaitable[None]], topics: set[Topic]
) -> None:
    await lab.enqueue_one()
    before = await look(lab)
    await change(lab)
    after = await look(lab)
    assert after.changed_since(before) == topics
    assert (await look(lab)).changed_since(after) == frozenset()


async def test_a_delivery_is_told_with_the_alerts(lab: Lab) -> None:
    await tell(lab)
    before = await look(lab)
    delivered = sa.update(tables.notifications).values(status="delivered")
    await lab.database.tx(lambda connection: connection.execute(delivered))
    assert (await look(lab)).changed_since(before) == {Topic.ALERTS}


async def test_an_end_changes_the_figures(lab: Lab) -> None:
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    before = await look(lab)
    await lab.succeed(claimed)
    assert (await look(lab)).changed_since(before) == {Topic.RUNS, Topic.QUEUES, Topic.STATS}


async def test_an_end_and_a_beginning_within_one_look_are_seen(lab: Lab, clock: StoreClock) -> None:
    await lab.enqueue(lab.new(), lab.new())
    (first,) = await lab.claim(1)
    before = await look(lab)
    clock.advance(0.5)
    await lab.succeed(first)
    await lab.claim(1)
    assert Topic.STATS in (await look(lab)).changed_since(before)


async def test_a_run_that_began_and_ended_between_two_looks_is_seen(lab: Lab) -> None:
    before = await look(lab)
    await enqueue(lab)
    await claim_and_succeed(lab)
    assert (await look(lab)).changed_since(before) >= {Topic.RUNS, Topic.QUEUES, Topic.STATS}


async def test_a_tick_changes_the_schedules(clockwork: Clockwork) -> None:
    await clockwork.declare(MINUTELY)
    await clockwork.go_to_minute()
    before = await look(clockwork.lab)
    await clockwork.fire_all()
    assert Topic.SCHEDULES in (await look(clockwork.lab)).changed_since(before)


async def test_what_another_process_does_is_heard_by_who_watches_it(lab: Lab) -> None:
    hub = hub_on(lab)
    with hub.listening({"runs"}) as listener, hub.listening({"alerts"}) as other:
        await hub.look()
        assert await listener.news(_SOON) == {"runs"}, "who begins to listen reads everything"
        assert await other.news(_SOON) == {"alerts"}
        await lab.enqueue_one()
        await hub.look()
        assert await listener.news(_SOON) == {"runs"}
        assert await other.news(0.0) == frozenset()


async def test_one_execution_is_watched_for_itself(lab: Lab, clock: StoreClock) -> None:
    watched, _other = await lab.enqueue(lab.new(priority=1), lab.new())
    hub = hub_on(lab)
    with hub.listening({of_run(watched)}) as listener:
        await hub.look()
        await listener.news(_SOON)
        clock.advance(1)
        claimed = await lab.claim(1)
        await hub.look()
        assert await listener.news(_SOON) == {of_run(watched)}
        await lab.claim(1)
        await hub.look()
        assert await listener.news(0.0) <= {of_run(watched)}, "another execution is not its matter"
        await lab.succeed(*claimed)
        await hub.look()
        assert await listener.news(_SOON) == {of_run(watched)}, "it has ended"


async def test_a_store_that_does_not_answer_costs_news_and_no_listener(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_connection: object, _environment: str) -> Marks:
        raise DatabaseUnreachableError("gone")

    hub = hub_on(lab)
    with hub.listening({"runs"}) as listener:
        await listener.news(_SOON)
        with monkeypatch.context() as patch:
            patch.setattr(live_marks, "marks", fail)
            assert await hub.look() == frozenset()
        assert "1 listeners learn nothing new: gone" in caplog.text
        await hub.look()
        await lab.enqueue_one()
        await hub.look()
        assert await listener.news(_SOON) == {"runs"}


class HastyWorld(RealWorld):
    """A world in which no sleep takes time."""

    async def sleep(self, seconds: float) -> None:
        """Let the others go on."""
        await super().sleep(0)


async def test_a_hub_without_listeners_does_not_look(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    looked = live_marks.marks

    def count(connection: sa.Connection, environment: str) -> Marks:
        looks.append(environment)
        return looked(connection, environment)

    monkeypatch.setattr(live_marks, "marks", count)
    signals = Signals(lab.world)
    hub = hub_on(lab, signals, HastyWorld())
    signals.send(WORK)
    assert not looks
    with hub.listening({"runs"}) as listener:
        await listener.news(_SOON)
        (looking,) = [task for task in asyncio.all_tasks() if task.get_name() == "mainspring-live"]
        await hub.look()
    signals.send(WORK)
    await looking
    assert len(hub) == 0
    assert looks


class RestingWorld(RealWorld):
    """A world in which whoever sleeps does so for good."""

    def __init__(self) -> None:
        super().__init__()
        self.rests = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Never return."""
        self.rests.set()
        await asyncio.Event().wait()


async def test_topics_that_are_chosen_anew_are_told_once(lab: Lab) -> None:
    run = await lab.enqueue_one()
    world = RestingWorld()
    hub = hub_on(lab, world=world)
    with hub.listening({"runs"}) as listener:
        await world.rests.wait()  # the hub's own look has been; those that follow are the test's
        assert await listener.news(_SOON) == {"runs"}
        listener.watch({"runs", "queues", of_run(run)})
        assert await listener.news(0.0) == frozenset(), "with what the next look finds"
        await lab.enqueue_one()
        told = {"runs", "queues", of_run(run)}
        assert told <= await hub.look(), "after which the hub rests for a second"
        assert await listener.news(_SOON) == told
        assert await hub.look() == frozenset()
        assert await listener.news(0.0) == frozenset()


def test_changes_that_nobody_has_fetched_become_one() -> None:
    async def listen() -> None:
        listener = Listener({"runs", "nodes"})
        assert await listener.news(0.0) == {"runs", "nodes"}
        for _ in range(1_000):
            listener.tell({"runs", "alerts"})
        assert await listener.news(0.0) == {"runs"}
        assert await listener.news(0.0) == frozenset()
        listener.watch({"alerts"})
        listener.tell(())
        assert await listener.news(0.0) == {"alerts"}, "what is new to a listener has changed for it"
        listener.tell({"runs"})
        assert await listener.news(0.0) == frozenset()

    asyncio.run(listen())


class LeapingWorld(RealWorld):
    """A world whose clock leaps by ten seconds at every look."""

    seconds = 0.0

    def monotonic(self) -> float:
        """Return the time."""
        self.seconds += 10.0
        return self.seconds


async def test_turns_go_on_while_their_holder_may_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.live.turns.CHECK_SECONDS", 0.0)
    listener = Listener({"runs"})
    asked: list[bool] = []

    async def may_go_on() -> None:
        asked.append(True)
        if len(asked) > 5:
            raise PermissionError

    told = turns(listener, may_go_on=may_go_on, is_ending=lambda: False, world=LeapingWorld())
    seen = [await anext(told) for _ in range(3)]
    with pytest.raises(PermissionError):
        await anext(told)
    assert seen == [{"runs"}, frozenset(), frozenset()], "all at first, then a word that the line stands every 15 s"


async def test_turns_end_with_the_node() -> None:
    ended = turns(Listener({"runs"}), may_go_on=asyncio.Event().wait, is_ending=lambda: True, world=RealWorld())  # pyright: ignore[reportArgumentType] - never asked
    assert [turn async for turn in ended] == []
