"""A named lock has one holder at a time, a lease by the store's clock, and a fence that only grows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mainspring.store.coordination import locks
from mainspring.store.engine.dialect import store_now

if TYPE_CHECKING:
    from mainspring.store.coordination.locks import HeldLock
    from mainspring.store.engine.database import Database
    from tests.store.conftest import Lab, StoreClock


async def acquire(
    database: Database, owner: str, *, key: str = "report", environment: str = "test", lease: float = 10.0
) -> HeldLock | None:
    return await database.tx(
        lambda connection: locks.acquire(
            connection, environment, key, owner=owner, holder=f"node of {owner}", lease_seconds=lease
        )
    )


async def renew(database: Database, lock: HeldLock) -> bool:
    return await database.tx(
        lambda connection: locks.renew(connection, lock.environment, lock.key, owner=lock.owner, lease_seconds=10)
    )


async def release(database: Database, lock: HeldLock) -> bool:
    return await database.tx(lambda connection: locks.release(connection, lock.environment, lock.key, owner=lock.owner))


async def held(database: Database, owner: str) -> HeldLock:
    lock = await acquire(database, owner)
    assert lock is not None
    return lock


async def test_a_free_lock_is_taken_for_its_lease(database: Database) -> None:
    lock = await held(database, "one")
    now = await database.read(lambda connection: connection.execute(sa.select(store_now())).scalar_one())
    assert (lock.environment, lock.key, lock.owner) == ("test", "report", "one")
    assert 8 < (lock.lease_until - now).total_seconds() <= 10


async def test_a_held_lock_is_refused_and_says_who_holds_it(database: Database) -> None:
    await held(database, "one")
    assert await acquire(database, "other") is None
    assert await database.read(lambda connection: locks.holder(connection, "test", "report")) == "node of one"


async def test_a_holder_cannot_take_its_lock_twice(database: Database) -> None:
    await held(database, "one")
    assert await acquire(database, "one") is None


async def test_keys_and_environments_are_locked_apart(database: Database) -> None:
    await held(database, "one")
    assert await acquire(database, "other", key="digest") is not None
    assert await acquire(database, "other", environment="staging") is not None


async def test_a_released_lock_is_free_at_once_with_a_higher_fence(database: Database) -> None:
    first = await held(database, "one")
    assert await release(database, first)
    assert await database.read(lambda connection: locks.holder(connection, "test", "report")) is None
    assert (await held(database, "other")).fence > first.fence


async def test_a_lease_that_is_over_leaves_the_lock_to_others(database: Database, clock: StoreClock) -> None:
    first = await held(database, "one")
    clock.advance(10.1)
    second = await held(database, "other")
    assert second.fence > first.fence
    assert not await renew(database, first)
    assert not await release(database, first)
    assert await database.read(lambda connection: locks.holder(connection, "test", "report")) == "node of other"


async def test_a_renewed_lease_lasts_longer_under_the_same_fence(database: Database, clock: StoreClock) -> None:
    first = await held(database, "one")
    clock.advance(9)
    assert await renew(database, first)
    clock.advance(9)
    assert await acquire(database, "other") is None


async def test_a_lease_that_is_over_cannot_be_renewed_even_if_nobody_took_it(
    database: Database, clock: StoreClock
) -> None:
    first = await held(database, "one")
    clock.advance(11)
    assert not await renew(database, first)


async def test_somebody_without_the_secret_cannot_release(database: Database) -> None:
    lock = await held(database, "one")
    forged = locks.HeldLock(lock.environment, lock.key, "guess", lock.fence, lock.lease_until)
    assert not await release(database, forged)
    assert await acquire(database, "other") is None


async def test_of_many_who_want_it_at_once_one_gets_it(database: Database) -> None:
    taken = await asyncio.gather(*(acquire(database, f"owner {n}") for n in range(8)))
    assert sum(lock is not None for lock in taken) == 1


async def test_locks_and_claims_draw_from_one_source_of_fences(lab: Lab) -> None:
    before = await held(lab.database, "one")
    await lab.enqueue_one()
    claimed = await lab.claim_one()
    assert claimed.fence > before.fence
    after = await acquire(lab.database, "one", key="digest")
    assert after is not None
    assert after.fence > claimed.fence
