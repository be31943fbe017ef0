"""Links that let somebody in once: what `mainspring demo` prints, so that a first look needs no password."""

from __future__ import annotations

import base64
import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import orjson

from mainspring.security.authentication import AuthenticationError
from mainspring.store.identity import revocations

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.world import World

LIFETIME: Final = timedelta(minutes=10)
_KEPT: Final = LIFETIME * 2
"""A node whose clock is behind would still take one that has ended."""
_LONGEST: Final = 2_000


class InvalidLinkError(AuthenticationError):
    """The link is none of ours, has ended, or was used before."""

    code = "SIGN_IN_LINK_INVALID"


class SignInLinks:
    """Makes words that let a person in, and takes each of them once, whichever node it comes to.

    Args:
        key: The key of tickets, derived from the secret key for this use.
        world: The clock by which they end, and ids.
    """

    def __init__(self, key: bytes, world: World) -> None:
        self._key = key
        self._world = world

    def issue(self, name: str) -> str:
        """Return what lets the user of that name in, within ten minutes."""
        ends_at = self._world.now() + LIFETIME
        body = orjson.dumps([str(self._world.new_id()), ends_at.isoformat(), name])
        return f"{_text(body)}.{_text(self._signature(body))}"

    def take(self, connection: Connection, word: str) -> str:
        """Return who is let in by a word, which then holds no more.

        Args:
            connection: In the transaction of the sign-in.
            word: What `issue` returned.

        Raises:
            InvalidLinkError: It does not hold.
        """
        body_text, _, signature = word[:_LONGEST].partition(".")
        try:
            body, signed = _bytes(body_text), _bytes(signature)
        except ValueError:
            raise InvalidLinkError("this is no sign-in link of ours") from None
        if not hmac.compare_digest(signed, self._signature(body)):
            raise InvalidLinkError("this is no sign-in link of ours")
        link_id, ends_at, name = orjson.loads(body)
        if datetime.fromisoformat(ends_at) <= self._world.now():
            raise InvalidLinkError("the sign-in link has ended: start the demo again for a new one")
        if not revocations.spend(connection, f"link:{UUID(link_id)}", keep=_KEPT):
            raise InvalidLinkError("the sign-in link was used before: it lets in once")
        return name

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
