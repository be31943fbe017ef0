"""A node with the monitor role asks services whether they are there; one that hangs or floods costs nobody else."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.job import JobDefinition
from mainspring.runtime.service_health import ServiceHealth
from mainspring.store.remote import service_checks, service_jobs, services
from mainspring.store.scheduling.firing import Firing
from tests.egress.conftest import answer, hang, receive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mainspring import Mainspring
    from mainspring.store.engine.database import Connection
    from mainspring.store.remote.services import Service
    from tests.egress.conftest import Receivers
__all__ = ["receive"]


@pytest.fixture
async def app(make_app: Callable[..., Mainspring]) -> AsyncIterator[Mainspring]:
    """An application with an open store that may call loopback; nothing of it runs."""
    app = make_app(egress_allow=("127.0.0.1",))
    async with app.connected():
        yield app


async def enter(app: Mainspring, name: str, url: str) -> None:
    """Enter a service with a job."""
    firing = Firing.by(app.world, app.settings.environment)
    definition = JobDefinition(f"{name}.digest")

    def write(connection: Connection) -> None:
        services.enter(connection, firing.environment, name, url)
        service_jobs.declare(connection, firing, definition, service_name=name, service_url=url, code_version=None)

    await app.opened.database.tx(write)


async def statuses(app: Mainspring) -> dict[str, Service]:
    environment = app.settings.environment
    found = await app.opened.database.read(lambda connection: services.all_of(connection, environment))
    return {service.name: service for service in found}


async def check(app: Mainspring) -> int:
    health = ServiceHealth(app.opened.database, app.settings, app.world)
    turn = await health.run_once()
    health.close()
    return turn.did


async def test_whatever_answers_is_reachable_save_with_a_server_error(app: Mainspring, receive: Receivers) -> None:
    well, without_such_an_address, ill = (
        await receive(answer()),
        await receive(answer(status="404 Not Found")),
        await receive(answer(status="503 Service Unavailable")),
    )
    for name, receiver in (("well", well), ("seed", without_such_an_address), ("ill", ill)):
        await enter(app, name, receiver.url("").rstrip("/"))
    await enter(app, "forbidden", "http://10.0.0.1:7006")
    assert await check(app) == 4
    found = await statuses(app)
    assert {name: service.status for name, service in found.items()} == {
        "well": "reachable",
        "seed": "reachable",
        "ill": "unreachable",
        "forbidden": "unreachable",
    }
    assert found["ill"].check_error == "it answered 503 to GET /healthz"
    assert "MAINSPRING_EGRESS_ALLOW" in (found["forbidden"].check_error or "")
    assert well.requests[0].startswith(b"GET /healthz HTTP/1.1")
    assert await check(app) == 0


async def test_a_service_that_hangs_or_floods_keeps_no_other_from_its_check(
    app: Mainspring, receive: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.runtime.service_health._DEADLINE", timedelta(seconds=0.3))
    hanging, flooding, well = await receive(hang), await receive(answer(b"x" * 5_000_000)), await receive(answer())
    for name, receiver in (("hanging", hanging), ("flooding", flooding), ("well", well)):
        await enter(app, name, receiver.url("").rstrip("/"))
    assert await asyncio.wait_for(check(app), 10) == 3
    found = await statuses(app)
    assert {name: service.status for name, service in found.items()} == {
        "hanging": "unreachable",
        "flooding": "reachable",
        "well": "reachable",
    }


async def test_the_log_tells_when_a_service_goes_and_comes_and_not_each_time(
    app: Mainspring, caplog: pytest.LogCaptureFixture, receive: Receivers
) -> None:
    receiver = await receive(answer())
    await enter(app, "mail", "http://127.0.0.1:9")
    with caplog.at_level(logging.INFO, logger="mainspring.runtime.service_health"):
        for url in ("http://127.0.0.1:9", "http://127.0.0.1:9", receiver.url("").rstrip("/")):
            await move(app, "mail", url)
            await check(app)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "service 'mail' is unreachable",
        "service 'mail' is reachable again",
    ]


async def move(app: Mainspring, name: str, url: str) -> None:
    """Register the service at another address, and then at that one, so that it is checked at once."""
    environment, key_id = app.settings.environment, app.world.new_id()
    for address in ("http://127.0.0.1:1", url):
        await app.opened.database.tx(
            lambda connection, address=address: services.register(
                connection, environment, name, url=address, key_id=key_id
            )
        )


async def test_a_node_with_the_monitor_role_checks_and_others_leave_it_to_it(
    make_app: Callable[..., Mainspring], receive: Receivers
) -> None:
    receiver = await receive(answer())
    app = make_app(egress_allow=("127.0.0.1",))
    async with app.running(roles=["worker", "scheduler"]) as node:
        assert "service-health" not in [loop.name for loop in node.loops]
    async with app.connected():
        await enter(app, "mail", receiver.url("").rstrip("/"))
    async with app.running(roles=["monitor"]):
        while (await statuses(app))["mail"].status != "reachable":
            await app.world.sleep(0.01)
    async with app.connected():
        environment = app.settings.environment
        again_in = await app.opened.database.read(
            lambda connection: service_checks.seconds_to_next(connection, environment)
        )
    assert again_in is not None
    assert 20 < again_in < 34
