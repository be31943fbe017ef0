"""Sessions of people who have signed in: kept on the server, known by the hash of a random id, ended from anywhere."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Actor, ActorKind, Credential, CredentialKind
from mainspring.security.authentication import SessionEndedError
from mainspring.store.identity import sessions

if TYPE_CHECKING:
    from mainspring.domain.access import Origin
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.identity.sessions import StoredSession
    from mainspring.store.identity.users import User
    from mainspring.world import World

LIFETIME: Final = timedelta(hours=24)
"""After which everybody signs in again (NIST SP 800-63B §2.2.3)."""
IDLE: Final = timedelta(hours=1)
"""Without a request, after which a session is over; an open page of the dashboard asks now and then."""
_SEEN_EVERY: Final = timedelta(minutes=1)


class Sessions:
    """Begins, reads and ends sessions.

    Nothing is remembered here: a session that is ended on one node is over on all of them with the next request.

    Args:
        database: Where they are kept.
        environment: The environment in which who has signed in acts.
        world: The randomness of ids.
    """

    def __init__(self, database: Database, environment: str, world: World) -> None:
        self._database = database
        self._environment = environment
        self._world = world

    def begin(self, connection: Connection, user: User, *, previous: str | None = None) -> str:
        """Begin a session and return its id, which is new at every sign-in and stored nowhere.

        Args:
            connection: In the transaction of the sign-in.
            user: Who has signed in.
            previous: The id that the browser had before; that session ends, whoever's it was.
        """
        if previous is not None:
            self.end(connection, previous)
        session_id = self._world.token()
        sessions.insert(
            connection,
            _hash_of(session_id),
            user.id,
            lifetime=LIFETIME.total_seconds(),
            idle=IDLE.total_seconds(),
        )
        return session_id

    async def actor_of(self, session_id: str, origin: Origin) -> Actor:
        """Return who has signed in, with the role and the organization that it has at present.

        Raises:
            SessionEndedError: There is no such session, or no longer.
            DatabaseUnreachableError: Nobody can say.
        """
        id_hash = _hash_of(session_id)
        held, is_unseen = await self._holding(id_hash)
        if is_unseen:
            await self._database.tx(lambda connection: sessions.touch(connection, id_hash))
        return replace(self._actor(held), origin=origin)

    async def check(self, session: Credential) -> None:
        """Refuse a session that is over; being asked does not keep it alive.

        Raises:
            SessionEndedError: It is.
        """
        await self._holding(session.id)

    def end(self, connection: Connection, session_id: str) -> None:
        """End a session: whoever has its id is signed out."""
        sessions.delete(connection, _hash_of(session_id))

    async def _holding(self, id_hash: str) -> tuple[StoredSession, bool]:
        idle, seen_every = IDLE.total_seconds(), _SEEN_EVERY.total_seconds()
        held = await self._database.read(
            lambda connection: sessions.get(connection, id_hash, idle=idle, unseen=seen_every)
        )
        if held is None:
            raise SessionEndedError("the session is over: sign in again")
        return held

    def _actor(self, session: StoredSession) -> Actor:
        return Actor(
            subject=session.user,
            kind=ActorKind.USER,
            environment=self._environment,
            organization_id=session.organization_id,
            permissions=session.role.permissions,
            sees_organization=session.role.sees_organization,
            credential=Credential(CredentialKind.SESSION, session.id_hash, session.created_at, session.expires_at),
        )


def _hash_of(session_id: str) -> str:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()
