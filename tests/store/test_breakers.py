"""The breaker of a service: opened by calls that do not get through, probed by one node, shared by all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from mainspring.domain.breaker import FAILURES_TO_OPEN, Breaker, BreakerState
from mainspring.store.engine.dialect import store_now
from mainspring.store.remote import breakers, services
from mainspring.store.tables import services as services_table

if TYPE_CHECKING:
    from mainspring.store.remote.services import Service
    from tests.store.conftest import Lab, StoreClock

pytestmark = pytest.mark.usefixtures("mailer")


@pytest.fixture
async def mailer(lab: Lab) -> None:
    """Two services that nobody has called yet."""
    for name in ("mailer", "other"):
        row = {"environment": "test", "name": name, "url": "http://127.0.0.1:1", "status": "unknown"}
        new = sa.insert(services_table).values(**row, created_at=store_now(), updated_at=store_now())
        await lab.database.tx(lambda connection, new=new: connection.execute(new))


async def _fail(lab: Lab, times: int = 1) -> float:
    wait = 0.0
    for _ in range(times):
        wait = await lab.database.tx(
            lambda connection: breakers.fail(connection, "test", "mailer", "it took no connection", chance=0.5)
        )
    return wait


async def _probe(lab: Lab) -> bool:
    return await lab.database.tx(lambda connection: breakers.admit_probe(connection, "test", "mailer"))


async def _succeed(lab: Lab) -> bool:
    return await lab.database.tx(lambda connection: breakers.succeed(connection, "test", "mailer"))


async def _service(lab: Lab, name: str = "mailer") -> Service:
    found = await lab.database.read(lambda connection: services.get(connection, "test", name))
    assert found is not None
    return found


async def test_it_opens_after_five_failures_in_a_row_and_keeps_the_last_error(lab: Lab) -> None:
    await _fail(lab, FAILURES_TO_OPEN - 1)
    assert (await _service(lab)).breaker_state == BreakerState.CLOSED
    await _fail(lab)
    service = await _service(lab)
    assert service.breaker_state == BreakerState.OPEN
    assert service.breaker_until is not None
    assert service.last_error == "it took no connection"
    assert (await _service(lab, "other")).consecutive_failures == 0


async def test_a_success_begins_the_count_anew(lab: Lab) -> None:
    await _fail(lab, FAILURES_TO_OPEN - 1)
    assert await _succeed(lab)
    assert not await _succeed(lab), "nothing is written where nothing changes"
    await _fail(lab, FAILURES_TO_OPEN - 1)
    assert (await _service(lab)).breaker_state == BreakerState.CLOSED


async def test_nobody_probes_a_closed_breaker_nor_an_open_one_before_its_time(lab: Lab, clock: StoreClock) -> None:
    assert not await _probe(lab)
    wait = await _fail(lab, FAILURES_TO_OPEN)
    assert not await _probe(lab)
    clock.advance(wait + 0.1)
    assert await _probe(lab)


async def test_a_service_that_registers_is_probed_at_once(lab: Lab) -> None:
    await _fail(lab, FAILURES_TO_OPEN)
    key_id = lab.world.new_id()
    await lab.database.tx(
        lambda connection: services.register(connection, "test", "mailer", url="http://127.0.0.1:1", key_id=key_id)
    )
    assert await _probe(lab)
    assert not await _probe(lab), "by one call"


async def test_of_all_nodes_that_find_the_time_come_one_probes(lab: Lab, clock: StoreClock) -> None:
    clock.advance(await _fail(lab, FAILURES_TO_OPEN) + 0.1)
    assert sum(await asyncio.gather(*(_probe(lab) for _ in range(5)))) == 1
    clock.advance(30.1)
    assert await _probe(lab), "a probe whose node died is sent again"


async def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_minute(lab: Lab, clock: StoreClock) -> None:
    waits = [await _fail(lab, FAILURES_TO_OPEN)]
    for _ in range(4):
        clock.advance(waits[-1] + 0.1)
        assert await _probe(lab)
        waits.append(await _fail(lab))
    assert waits == [16.0, 32.0, 60.0, 60.0, 60.0]
    assert await _fail(lab) == 60.0, "a call that began before it opened tells nothing new"


async def test_a_probe_that_gets_through_closes_it(lab: Lab, clock: StoreClock) -> None:
    clock.advance(await _fail(lab, FAILURES_TO_OPEN) + 0.1)
    assert await _probe(lab)
    assert await _succeed(lab)
    service = await _service(lab)
    assert (service.breaker_state, service.consecutive_failures) == (BreakerState.CLOSED, 0)


async def test_a_probe_that_had_nothing_to_run_is_not_used_up(lab: Lab, clock: StoreClock) -> None:
    clock.advance(await _fail(lab, FAILURES_TO_OPEN) + 0.1)

    def look(connection: Any) -> None:
        assert breakers.admit_probe(connection, "test", "mailer")
        breakers.keep_probe(connection, "test", "mailer")

    await lab.database.tx(look)
    assert await _probe(lab)


def test_waits_grow_with_jitter() -> None:
    assert [Breaker(failures=n).wait(0.5) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert Breaker(failures=1).wait(0.0) == pytest.approx(0.8)
