"""Passwords: hashed by Argon2id, a few at a time, and an unknown user costs as much as a known one."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final, TypeVar

from mainspring.errors import MainspringError
from mainspring.world import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from pwdlib import PasswordHash

    from mainspring.world import World

Result = TypeVar("Result")

AT_ONCE: Final = 2
"""Each takes 64 MiB and a third of a second of one core: more at once would let sign-ins starve everything else."""
MOST_WAITING: Final = 20
LEAST_CHARACTERS: Final = 12
MOST_CHARACTERS: Final = 1_000


class UnfitPasswordError(MainspringError):
    """A password is too short or too long to be one."""

    code = "PASSWORD_UNFIT"


class TooBusyError(MainspringError):
    """So many people sign in at once that this one has to try again."""

    code = "TOO_BUSY"


class Passwords:
    """Hashes passwords and compares them, without keeping the event loop waiting.

    Args:
        world: Threads, and the password of nobody.
        hasher: How to hash; by default Argon2id with the parameters that pwdlib recommends.
    """

    def __init__(self, world: World, hasher: PasswordHash | None = None) -> None:
        self._pool = world.thread_pool(AT_ONCE, name="mainspring-passwords")
        self._world = world
        self._hasher = hasher
        self._waiting = 0
        self._of_nobody: str | None = None

    async def hash(self, password: str) -> str:
        """Return what is stored of a password.

        Raises:
            UnfitPasswordError: It is too short or too long.
        """
        if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
            raise UnfitPasswordError(
                f"a password needs {LEAST_CHARACTERS} to {MOST_CHARACTERS:,} characters, and this one has "
                f"{len(password)}: several words are easier to keep in mind than signs"
            )
        return await self._in_turn(lambda hasher: hasher.hash(_bytes(password)))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether a password is the one that was hashed.

        Args:
            password: What was typed.
            password_hash: What is stored; None where there is no such user: it is compared all the same, so that time
                does not tell who exists.

        Raises:
            TooBusyError: Too many wait for the same.
        """
        if self._of_nobody is None:
            self._of_nobody = await self._in_turn(lambda hasher: hasher.hash(self._world.token()))
        expected = password_hash or self._of_nobody
        typed = _bytes(password[:MOST_CHARACTERS])
        return await self._in_turn(lambda hasher: hasher.verify(typed, expected)) and password_hash is not None

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[PasswordHash], Result]) -> Result:
        if self._waiting >= AT_ONCE + MOST_WAITING:
            raise TooBusyError("too many people sign in at this moment: try again in a few seconds")
        self._waiting += 1
        try:
            return await run_in_thread(self._pool, lambda: work(self._argon2()))
        finally:
            self._waiting -= 1

    def _argon2(self) -> PasswordHash:
        if self._hasher is None:
            from pwdlib import PasswordHash  # loaded where somebody signs in, and never with `import mainspring`

            self._hasher = PasswordHash.recommended()
        return self._hasher


def _bytes(password: str) -> bytes:
    """Return the same bytes for the same password, whatever keyboard it was typed on (NIST SP 800-63B §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
