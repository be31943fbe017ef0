"""The end of a service: its work ends first, or is stopped, and its scheduler hears of either."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.remote.accepted_work import Work
    from tests.remote.conftest import Deployment


async def test_a_service_that_shuts_down_lets_its_work_end_and_tells_it(deployment: Deployment, work: Work) -> None:
    stopping = asyncio.Event()

    async def live() -> None:
        async with deployment.service.lifespan():
            await stopping.wait()

    living = deployment.start(live())
    await work.accepted()
    stopping.set()
    await deployment.pass_time(5)
    refused = await deployment.send(deployment.call("work", executionId="01929292-0000-7000-8000-000000000002"))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert not living.done()
    work.may_end.set()
    await deployment.settle()

    assert living.done()
    assert deployment.scheduler.said("complete")[0]["success"] is True


async def test_work_that_outlasts_the_grace_is_stopped_and_the_scheduler_hears_of_it_at_once(
    deployment: Deployment, work: Work
) -> None:
    async def live() -> None:
        async with deployment.service.lifespan():
            await work.accepted()

    living = deployment.start(live())
    await deployment.pass_time(50)

    assert living.done()
    assert work.stopped == [7]
    [told] = deployment.scheduler.said("complete")
    assert (told["success"], told["error"]["class"], told["error"]["code"]) == (
        False,
        "interrupted",
        "SERVICE_SHUT_DOWN",
    )


async def test_a_service_that_shuts_down_waits_for_a_scheduler_that_is_away_no_longer_than_seconds(
    deployment: Deployment, work: Work
) -> None:
    async def live() -> None:
        async with deployment.service.lifespan():
            await work.accepted()
            deployment.egress.is_down = True

    living = deployment.start(live())
    await deployment.pass_time(50)

    assert living.done()
    assert deployment.scheduler.said("complete") == []


async def test_health_tells_whether_calls_are_taken(deployment: Deployment, work: Work) -> None:
    import httpx2

    transport = httpx2.ASGITransport(deployment.service.asgi())
    async with httpx2.AsyncClient(transport=transport, base_url="http://email-service:7006") as client:
        await work.accepted()
        healthy = await client.get("/healthz")
        work.may_end.set()
        async with deployment.service.lifespan():
            pass
        draining = await client.get("/healthz")

    assert healthy.status_code == 200
    assert healthy.json() == {"status": "ok", "service": "email-service", "jobs": ["work"], "running": 1}
    assert (draining.status_code, draining.json()["status"]) == (503, "draining")
