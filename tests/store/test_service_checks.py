"""Health checks: one node at a time has a check, and what it found is kept with since when it is so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mainspring.domain.job import JobDefinition
from mainspring.store.remote import service_checks, service_jobs, services
from mainspring.store.scheduling.firing import Firing
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.remote.service_checks import DueCheck
    from mainspring.store.remote.services import Service
    from tests.store.conftest import StoreClock

URL = "https://mail.example"
FIRING = Firing.by(RealWorld(), "test")


@pytest.fixture
async def database(database: Database) -> Database:
    """A store that knows one service."""
    await enter(database, "mail")
    return database


async def enter(database: Database, name: str, url: str = URL) -> None:
    """Enter a service with a job."""
    definition = JobDefinition(f"{name}.digest")

    def write(connection: Connection) -> None:
        services.enter(connection, "test", name, url)
        service_jobs.declare(connection, FIRING, definition, service_name=name, service_url=url, code_version=None)

    await database.tx(write)


async def take(database: Database, *, most: int = 10, environment: str = "test") -> Sequence[DueCheck]:
    return await database.tx(lambda connection: service_checks.take(connection, environment, most=most, again_in=30.0))


async def note(database: Database, check: DueCheck, error: str | None, again_in: float | None = None) -> None:
    await database.tx(lambda connection: service_checks.note(connection, "test", check, error=error, again_in=again_in))


async def found(database: Database, name: str = "mail") -> Service:
    service = await database.read(lambda connection: services.get(connection, "test", name))
    assert service is not None
    return service


async def due_in(database: Database) -> float | None:
    return await database.read(lambda connection: service_checks.seconds_to_next(connection, "test"))


async def test_a_new_service_is_checked_at_once_and_by_one_node(database: Database) -> None:
    # Several at once, so that the nodes find as many open connections.
    assert await asyncio.gather(*(take(database, environment="other") for _ in range(5))) == [[]] * 5
    assert await due_in(database) == 0
    taken = await asyncio.gather(*(take(database) for _ in range(5)))
    assert [[check.name for check in checks] for checks in taken if checks] == [["mail"]]
    assert await due_in(database) == pytest.approx(30.0, abs=1.0)


async def test_a_check_is_due_again_whatever_became_of_the_node_that_had_it(
    database: Database, clock: StoreClock
) -> None:
    await take(database)
    clock.advance(31)
    assert [check.url for check in await take(database)] == [URL]


async def test_checks_of_other_environments_are_left_alone(database: Database) -> None:
    assert await take(database, environment="production") == []


async def test_a_service_that_has_dropped_all_its_jobs_is_left_in_peace(database: Database) -> None:
    await database.tx(lambda connection: service_jobs.drop_others(connection, "test", "mail", []))
    assert (await due_in(database), await take(database)) == (None, [])
    await enter(database, "mail")
    assert [check.name for check in await take(database)] == ["mail"]


async def test_a_node_takes_no_more_than_it_can_ask(database: Database) -> None:
    for number in range(3):
        await enter(database, f"service-{number}")
    assert [len(await take(database, most=2)) for _ in range(3)] == [2, 2, 0]


async def test_a_status_is_kept_with_since_when_it_is_so(database: Database, clock: StoreClock) -> None:
    assert ((await found(database)).status, (await found(database)).status_since) == ("unknown", None)
    [check] = await take(database)
    await note(database, check, None)
    first = await found(database)
    clock.advance(60)
    await note(database, check, None)
    still = await found(database)
    assert (still.status, still.status_since) == ("reachable", first.status_since)
    assert still.checked_at is not None
    assert first.checked_at is not None
    assert still.checked_at > first.checked_at
    await note(database, check, "it took no connection")
    gone = await found(database)
    assert (gone.status, gone.check_error) == ("unreachable", "it took no connection")
    assert gone.status_since is not None
    assert gone.status_since >= still.checked_at
    await note(database, check, None)
    assert (await found(database)).check_error is None


async def test_an_unreachable_service_is_asked_again_sooner(database: Database) -> None:
    [check] = await take(database)
    await note(database, check, "gone", again_in=5.0)
    assert await due_in(database) == pytest.approx(5.0, abs=1.0)


async def test_what_is_found_about_an_address_that_the_service_has_left_does_not_count(
    database: Database, world: RealWorld
) -> None:
    [check] = await take(database)
    key_id = world.new_id()
    await database.tx(
        lambda connection: services.register(connection, "test", "mail", url="https://new.example", key_id=key_id)
    )
    await note(database, check, "gone")
    assert (await found(database)).status == "unknown"
    assert await due_in(database) == 0
