"""Tickets: what opens one WebSocket, on any node, within half a minute.

A browser cannot send a header with the handshake of a WebSocket, and a token in an address would stand in the logs of
every proxy. A ticket may stand there: it holds once and not for long, and tells nothing but who got it.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from mainspring.domain.access import Actor, ActorKind, Credential, CredentialKind, Permission
from mainspring.security.authentication import AuthenticationError
from mainspring.store.identity import revocations

if TYPE_CHECKING:
    from mainspring.domain.access import Origin
    from mainspring.store.engine.database import Database
    from mainspring.world import World

TICKET_TTL: Final = timedelta(seconds=30)
_KEPT: Final = TICKET_TTL * 4
"""A node whose clock is behind would still take one that has ended."""
_LONGEST: Final = 10_000


class InvalidTicketError(AuthenticationError):
    """The ticket is none of ours, has ended, or was used before."""

    code = "TICKET_INVALID"


class Tickets:
    """Makes tickets for actors, and takes each of them once.

    Args:
        database: Where spent tickets are noted.
        key: The key of tickets, derived from the secret key.
        world: The clock by which they end, and ids.
    """

    def __init__(self, database: Database, key: bytes, world: World) -> None:
        self._database = database
        self._key = key
        self._world = world

    def issue(self, actor: Actor) -> tuple[str, datetime]:
        """Return a ticket for an actor, and when it ends."""
        ends_at = self._world.now() + TICKET_TTL
        facts = {
            "id": str(self._world.new_id()),
            "ends": ends_at.isoformat(),
            "subject": actor.subject,
            "kind": actor.kind.value,
            "environment": actor.environment,
            "organization": actor.organization_id,
            "permissions": sorted(actor.permissions),
            "seesOrganization": actor.sees_organization,
            "credential": None if actor.credential is None else asdict(actor.credential),
        }
        body = orjson.dumps(facts)
        return f"{_text(body)}.{_text(self._signature(body))}", ends_at

    async def take(self, ticket: str, origin: Origin) -> Actor:
        """Return who got a ticket, which then holds no more.

        Whether the credential behind it still holds is for the caller to ask (`Identity.check`).

        Raises:
            InvalidTicketError: It does not hold.
            DatabaseUnreachableError: Nobody can say whether it was used before.
        """
        facts = self._read(ticket)
        if datetime.fromisoformat(facts["ends"]) <= self._world.now():
            raise InvalidTicketError("the ticket has ended: ask for another one, and use it within 30 seconds")
        ticket_id = f"ticket:{UUID(facts['id'])}"
        if not await self._database.tx(lambda connection: revocations.spend(connection, ticket_id, keep=_KEPT)):
            raise InvalidTicketError("the ticket was used before: ask for one for each connection")
        return replace(_actor(facts), origin=origin)

    def _read(self, ticket: str) -> dict[str, Any]:
        body_text, _, signature = ticket[:_LONGEST].partition(".")
        try:
            body, signed = _bytes(body_text), _bytes(signature)
        except ValueError:
            raise _foreign() from None
        if not hmac.compare_digest(signed, self._signature(body)):
            raise _foreign()
        return orjson.loads(body)

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")


def _actor(facts: dict[str, Any]) -> Actor:
    credential = facts["credential"]
    return Actor(
        subject=facts["subject"],
        kind=ActorKind(facts["kind"]),
        environment=facts["environment"],
        organization_id=facts["organization"],
        permissions=frozenset(map(Permission, facts["permissions"])),
        sees_organization=facts["seesOrganization"],
        credential=None if credential is None else _credential(credential),
    )


def _credential(facts: dict[str, Any]) -> Credential:
    ends = facts["expires_at"]
    return Credential(
        CredentialKind(facts["kind"]),
        facts["id"],
        datetime.fromisoformat(facts["issued_at"]),
        None if ends is None else datetime.fromisoformat(ends),
    )


def _foreign() -> InvalidTicketError:
    return InvalidTicketError("this is no ticket of ours: `POST /admin/cron-jobs/ws-ticket` gives one")


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
