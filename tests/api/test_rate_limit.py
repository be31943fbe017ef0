"""Nobody asks so often that others cannot."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring.api import rate_limit
from mainspring.api.rate_limit import Allowance, RateLimits, TokenBuckets
from mainspring.world import RealWorld

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door

PLENTY = Allowance(burst=1_000, per_second=1_000)
SCARCE = Allowance(burst=3, per_second=0.5)


class Clock(RealWorld):
    """A clock that tests move."""

    seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


class TestBuckets:
    def test_a_bucket_gives_its_burst_at_once_and_then_fills_at_its_pace(self) -> None:
        clock = Clock()
        buckets = TokenBuckets(SCARCE, clock)
        assert [buckets.take("ada") for _ in range(4)] == [None, None, None, timedelta(seconds=2)]
        clock.seconds += 1.5
        assert buckets.take("ada") == timedelta(seconds=0.5)
        clock.seconds += 0.5
        assert [buckets.take("ada") is None for _ in range(2)] == [True, False]
        clock.seconds += 3_600
        assert [buckets.take("ada") is None for _ in range(4)] == [True, True, True, False]

    def test_buckets_do_not_share(self) -> None:
        buckets = TokenBuckets(SCARCE, Clock())
        for _ in range(4):
            buckets.take("ada")
        assert buckets.take("bob") is None

    def test_memory_does_not_grow_with_the_number_of_those_who_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rate_limit, "_MOST_REMEMBERED", 100)
        clock = Clock()
        buckets = TokenBuckets(SCARCE, clock)
        for number in range(1_000):
            clock.seconds += 0.1
            buckets.take(str(number))
            assert len(buckets) <= 100
        assert len(buckets) > 0

    def test_whoever_is_at_the_limit_stays_there_when_full_buckets_are_dropped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rate_limit, "_MOST_REMEMBERED", 10)
        clock = Clock()
        buckets = TokenBuckets(SCARCE, clock)
        for number in range(9):
            buckets.take(str(number))
        clock.seconds += 2
        for _ in range(3):
            buckets.take("ada")
        assert buckets.take("bob") is None
        assert buckets.take("ada") is not None


class TestAtTheDoor:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    def _limit(self, door: Door, limits: RateLimits) -> None:
        door.api.state.services = replace(door.services, rate_limits=limits)

    async def test_a_principal_is_told_when_to_come_back_and_others_go_on(
        self, door: Door, ada: httpx2.AsyncClient, clock: Clock
    ) -> None:
        self._limit(door, RateLimits(clock, principal=SCARCE, organization=PLENTY))
        bob, other_token = await door.client(door.token("bob")), await door.client(door.token("ada"))
        assert [(await ada.get("/v1/jobs")).status_code for _ in range(3)] == [200, 200, 200]
        refused = await ada.get("/v1/jobs")
        assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
        assert refused.headers["retry-after"] == "2"
        assert "Retry-After" in refused.json()["detail"]
        assert (await other_token.get("/v1/jobs")).status_code == 429, "a second token is the same principal"
        assert (await bob.get("/v1/jobs")).status_code == 200
        clock.seconds += 2
        assert (await ada.get("/v1/jobs")).status_code == 200

    async def test_the_members_of_an_organization_share_its_bucket(self, door: Door, clock: Clock) -> None:
        self._limit(door, RateLimits(clock, principal=PLENTY, organization=SCARCE))
        members = [await door.client(door.token(f"member {number}")) for number in range(4)]
        assert [(await member.get("/v1/jobs")).status_code for member in members] == [200, 200, 200, 429]
        stranger = await door.client(door.token("member 0", organization="globex"))
        assert (await stranger.get("/v1/jobs")).status_code == 200

    async def test_strangers_are_counted_by_address_and_hold_nobody_up_who_is_known(
        self, door: Door, ada: httpx2.AsyncClient, clock: Clock
    ) -> None:
        self._limit(door, RateLimits(clock, stranger=SCARCE))
        clients = [await door.client(), await door.client("swordfish"), await door.client("msk_swordfish")]
        assert [(await client.get("/v1/jobs")).status_code for client in clients] == [401, 401, 401]
        for client in clients:
            answer = await client.get("/v1/jobs")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert (await ada.get("/v1/jobs")).status_code == 200

    async def test_health_is_told_to_everybody_however_often(self, door: Door, clock: Clock) -> None:
        self._limit(door, RateLimits(clock, stranger=SCARCE))
        client = await door.client()
        assert {(await client.get("/healthz")).status_code for _ in range(10)} == {200}
