"""What every place keeps locks like: SQLite, PostgreSQL, Valkey, and Valkey before a store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mainspring.locks.backend import Grant, Refusal
from tests.store.lock_places import Locks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.store.lock_places import Place
    from tests.valkey import Valkey


@pytest.fixture
async def locks(place: Place) -> AsyncIterator[Locks]:
    backend = await place.open()
    yield Locks(backend, place.end_leases)
    await backend.close()


@pytest.fixture
async def on_valkey(locks_on_valkey: Place) -> AsyncIterator[Locks]:
    backend = await locks_on_valkey.open()
    yield Locks(backend, locks_on_valkey.end_leases)
    await backend.close()


async def test_a_held_lock_is_refused_with_the_name_of_its_holder(locks: Locks) -> None:
    await locks.take("one")
    assert await locks.acquire("other") == Refusal("node of one")


async def test_each_holder_has_a_higher_fence(locks: Locks) -> None:
    fences: list[int] = []
    for owner in ("one", "other", "one"):
        fences.append(await locks.take(owner))
        assert await locks.release(owner)
    assert fences == sorted(set(fences))


async def test_keys_are_locked_apart(locks: Locks) -> None:
    await locks.take("one")
    await locks.take("other", "digest")


async def test_a_lease_that_is_over_leaves_the_lock_to_others_with_a_higher_fence(locks: Locks) -> None:
    first = await locks.take("one")
    locks.end_leases()
    assert await locks.take("other") > first
    assert not await locks.renew("one")


async def test_a_lease_that_is_over_cannot_be_renewed_even_if_nobody_took_it(locks: Locks) -> None:
    await locks.take("one")
    locks.end_leases()
    assert not await locks.renew("one")


async def test_a_release_after_the_lease_leaves_the_next_holder_alone(locks: Locks) -> None:
    await locks.take("one")
    locks.end_leases()
    await locks.take("other")
    assert not await locks.release("one")
    assert await locks.acquire("third") == Refusal("node of other")


async def test_a_holder_renews(locks: Locks) -> None:
    await locks.take("one")
    assert await locks.renew("one")
    assert await locks.acquire("other") == Refusal("node of one")


async def test_nobody_renews_or_releases_the_lock_of_another(locks: Locks) -> None:
    await locks.take("one")
    assert not await locks.renew("other")
    assert not await locks.release("other")
    assert await locks.acquire("third") == Refusal("node of one")


async def test_of_many_who_ask_at_once_one_gets_it(locks: Locks) -> None:
    answers = await asyncio.gather(*(locks.acquire(f"owner {n}") for n in range(8)))
    assert sum(isinstance(answer, Grant) for answer in answers) == 1


async def test_a_lock_given_back_is_free_at_once(locks: Locks) -> None:
    await locks.take("one")
    assert await locks.release("one")
    await locks.take("other")


async def test_a_server_that_lost_its_data_gives_no_lower_fence(valkey: Valkey, on_valkey: Locks) -> None:
    before = await on_valkey.take("one")
    valkey.kill()
    valkey.start()
    assert await on_valkey.take("other") > before


async def test_a_server_whose_clock_is_behind_its_last_fence_counts_on(valkey: Valkey, on_valkey: Locks) -> None:
    ahead = await on_valkey.take("one") + 10**12
    with valkey.client as client:
        client.set("mainspring:test:lock:{report}:fence", ahead)
    assert await on_valkey.release("one")
    assert await on_valkey.take("other") == ahead + 1
