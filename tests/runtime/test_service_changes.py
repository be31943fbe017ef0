"""What is changed through one node is in force on all of them within a second (issue 6)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

from mainspring.domain.access import Actor
from mainspring.domain.firing_policy import TickOutcome
from mainspring.domain.job import JobDefinition
from mainspring.domain.schedule import Cron
from mainspring.store.remote import service_jobs
from mainspring.store.scheduling import ticks
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mainspring import Mainspring
    from mainspring.store.scheduling.ticks import RecordedTick

NAME = "mail.digest"
A_SECOND = timedelta(seconds=1)


async def register(app: Mainspring, cron: str) -> None:
    """Keep what a service declares, as the node does that it has asked."""
    firing = Firing.by(app.world, app.settings.environment)
    definition = JobDefinition(NAME, schedule=Cron(cron))
    await app.opened.database.tx(
        lambda connection: service_jobs.declare(
            connection,
            firing,
            definition,
            service_name="mail",
            service_url="https://mail.example",
            code_version=None,
        )
    )


async def ticks_of(app: Mainspring, outcome: TickOutcome, *, least: int) -> Sequence[RecordedTick]:
    """Wait until there are so many, and return them, the oldest first."""
    environment = app.settings.environment
    while True:
        found = await app.opened.database.read(lambda connection: ticks.find(connection, environment, NAME))
        of_outcome = [item for item in reversed(found) if item.tick.outcome is outcome]
        if len(of_outcome) >= least:
            return of_outcome
        await app.world.sleep(0.02)


async def test_a_change_is_in_force_on_every_node_within_a_second(make_app: Callable[..., Mainspring]) -> None:
    actor = Actor.application("dev")
    async with AsyncExitStack() as stack:
        # The node that is asked fires nothing; the others have only the store to learn from.
        asked = make_app(poll="1s")
        await stack.enter_async_context(asked.connected())
        await register(asked, "0 0 1 1 *")
        for name in ("one", "two"):
            await stack.enter_async_context(make_app(poll="1s", node=name).running(roles=["scheduler"]))
        await register(asked, "* * * * * *")
        changed_at = asked.world.now()
        [first, *_] = await ticks_of(asked, TickOutcome.FIRED, least=1)
        assert first.tick.scheduled_for - changed_at <= A_SECOND
        assert first.recorded_at is not None
        assert first.recorded_at - first.tick.scheduled_for <= A_SECOND
        await asked.schedules.disable(actor, NAME, reason="loud")
        disabled_at = asked.world.now()
        await ticks_of(asked, TickOutcome.SKIPPED, least=2)
        fired = await ticks_of(asked, TickOutcome.FIRED, least=1)
        assert max(item.tick.scheduled_for for item in fired) <= disabled_at
