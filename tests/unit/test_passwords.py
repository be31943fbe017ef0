"""Passwords: what is stored, what an unknown user costs, and how many are hashed at once."""

from __future__ import annotations

import asyncio
import threading

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from mainspring.security.passwords import AT_ONCE, MOST_WAITING, Passwords, TooBusyError, UnfitPasswordError
from mainspring.world import RealWorld

PASSWORD = "correct horse battery staple"


class CountingHash(PasswordHash):
    """Argon2id, cheap, that counts what it does."""

    def __init__(self) -> None:
        super().__init__((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        self.hashed = 0
        self.verified: list[str | bytes] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashed += 1
        return super().hash(password, salt=salt)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 - pwdlib's name
        self.verified.append(hash)
        return super().verify(password, hash)


class SlowHash(CountingHash):
    """One whose comparisons end when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.is_full = threading.Event()
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002 - pwdlib's name
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            if self._now == AT_ONCE:
                self.is_full.set()
        self.may_go_on.wait(30)
        with self._lock:
            self._now -= 1
        return super().verify(password, hash)


@pytest.fixture
def hasher() -> CountingHash:
    return CountingHash()


@pytest.fixture
def passwords(hasher: CountingHash) -> Passwords:
    return Passwords(RealWorld(), hasher)


async def test_a_password_is_stored_as_an_argon2id_hash_and_known_again(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert PASSWORD not in stored
    assert await passwords.verify(PASSWORD, stored)
    assert not await passwords.verify(f"{PASSWORD}!", stored)


async def test_the_parameters_are_those_that_the_library_recommends() -> None:
    stored = await Passwords(RealWorld()).hash(PASSWORD)
    assert "m=65536,t=3,p=4" in stored


async def test_an_unknown_user_costs_what_a_known_one_does(passwords: Passwords, hasher: CountingHash) -> None:
    stored = await passwords.hash(PASSWORD)

    async def cost(password_hash: str | None) -> tuple[int, int]:
        hashed, verified = hasher.hashed, len(hasher.verified)
        assert not await passwords.verify("wrong but long enough", password_hash)
        return hasher.hashed - hashed, len(hasher.verified) - verified

    assert await cost(stored) == (1, 1)  # the first look of a process makes the hash of nobody, whoever it is for
    assert await cost(None) == (0, 1)
    assert await cost(stored) == (0, 1)
    assert hasher.verified[1] != stored


async def test_nobody_signs_in_as_nobody(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RealWorld, "token", lambda _world: PASSWORD)  # pyright: ignore[reportUnknownArgumentType, reportUnknownLambdaType]
    assert not await passwords.verify(PASSWORD, None)


@pytest.mark.parametrize("unfit", ["", "eleven char", "a" * 1_001])
async def test_a_password_that_is_too_short_or_too_long_is_refused(passwords: Passwords, unfit: str) -> None:
    with pytest.raises(UnfitPasswordError, match="12 to 1,000"):
        await passwords.hash(unfit)


async def test_a_password_typed_on_another_keyboard_is_the_same(passwords: Passwords) -> None:
    stored = await passwords.hash("cafe\N{COMBINING ACUTE ACCENT} au lait!")
    assert await passwords.verify("caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait!", stored)


async def test_what_is_no_text_and_what_is_endless_is_only_wrong(passwords: Passwords) -> None:
    stored = await passwords.hash(PASSWORD)
    for typed in ("\x00", "\ud800", "a" * 1_000_000):
        assert not await passwords.verify(typed, stored)


async def test_a_few_are_hashed_at_once_and_the_rest_is_told_to_try_again() -> None:
    world, hasher = RealWorld(), SlowHash()
    passwords = Passwords(world, hasher)
    hasher.may_go_on.set()
    stored = await passwords.hash(PASSWORD)
    assert await passwords.verify(PASSWORD, stored)
    hasher.may_go_on.clear()
    tries = [world.spawn(passwords.verify(PASSWORD, stored), name="sign-in") for _ in range(AT_ONCE + MOST_WAITING + 1)]
    ended, waiting = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
    assert [type(one.exception()) for one in ended] == [TooBusyError]
    assert hasher.is_full.wait(30)  # of the threads that hash, which need no loop
    hasher.may_go_on.set()
    assert all(await asyncio.gather(*waiting))
    assert hasher.most_at_once == AT_ONCE
    assert await passwords.verify(PASSWORD, stored)
