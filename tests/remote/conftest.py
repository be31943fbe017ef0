"""A service, the scheduler that it works for, and the time of both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import httpx2
import pytest

from mainspring import RemoteService
from mainspring.testing import Clock
from mainspring.testing.manual_clock import ManualWorld
from mainspring.world import RealWorld
from tests.remote.accepted_work import Work
from tests.remote.stand_in import KEY, SECRET, Call, DirectEgress, StandIn, call

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from mainspring.remote.asgi import ServiceAsgi

TURNS = 50
"""More than anything takes that waits for nothing: in these tests nobody waits for a socket."""


@dataclass(slots=True)
class Deployment:
    """A service beside its scheduler, in one process and one time."""

    service: RemoteService
    scheduler: StandIn
    egress: DirectEgress
    clock: Clock
    world: ManualWorld

    def call(self, job: str, **said: Any) -> Call:
        """Return a call of the scheduler, signed now."""
        said.setdefault("at", self.clock.now)
        return call(self.scheduler.url, job, **said)

    async def send(self, made: Call, app: ServiceAsgi | None = None) -> httpx2.Response:
        """Send a call to the service, mounted at the root."""
        transport = httpx2.ASGITransport(app or self.service.asgi())
        async with httpx2.AsyncClient(transport=transport, base_url="http://email-service:7006") as client:
            return await client.post(made.path, content=made.body, headers=made.headers)

    async def settle(self) -> None:
        """Let everything go on that waits for nothing."""
        for _ in range(TURNS):
            await RealWorld().sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            await self.settle()
            self.clock.advance(timedelta(seconds=1))
        await self.settle()

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start something beside the test."""
        return RealWorld().spawn(work, name="beside the test")


@pytest.fixture
def clock() -> Clock:
    """The time of the service."""
    return Clock(datetime(2026, 3, 2, 9, tzinfo=UTC))


@pytest.fixture
def deployment(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A service without jobs."""
    scheduler = StandIn("http://scheduler-service:7007")
    egress = DirectEgress(scheduler)
    monkeypatch.setattr("mainspring.remote.service.Egress", Mock(return_value=egress))
    world = ManualWorld(clock)
    service = RemoteService(
        "email-service",
        scheduler_url=scheduler.url,
        callback_url="http://email-service:7006",
        key=KEY,
        signing_secret=SECRET,
        version="1.4.2",
        world=world,
    )
    return Deployment(service, scheduler, egress, clock, world)


@pytest.fixture
def work(deployment: Deployment) -> Work:
    """A job that goes on until the test lets it end."""
    return Work(deployment)
