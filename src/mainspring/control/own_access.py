"""What everybody may do with their own access: change their password, and sign out wherever they have signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.control.users import UserNotFoundError
from mainspring.security.audit import Target
from mainspring.security.claims import LONGEST_TTL
from mainspring.store.identity import revocations, users
from mainspring.store.identity import sessions as stored_sessions

if TYPE_CHECKING:
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.security.logins import Logins
    from mainspring.security.passwords import Passwords
    from mainspring.security.sessions import Sessions
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.identity.users import User


class OwnAccess:
    """Changes the access of whoever asks, and of nobody else.

    Args:
        database: The open store.
        audit: Where it is written.
        passwords: Hashes the new password.
        logins: Asks for the present one, and counts who guesses.
        sessions: Begins the session that goes on.
    """

    def __init__(
        self, database: Database, audit: Audit, passwords: Passwords, logins: Logins, sessions: Sessions
    ) -> None:
        self._database = database
        self._audit = audit
        self._passwords = passwords
        self._logins = logins
        self._sessions = sessions

    async def change_password(self, actor: Actor, *, present: str, new: str) -> str:
        """Change one's password: all sessions end, and one begins whose id is returned.

        The present password is asked for as at a sign-in, for whoever sits down at a browser that was left open has
        the session and not the password.

        Args:
            actor: Who has signed in.
            present: The password until now.
            new: The password from now on, 12 to 1,000 characters.

        Raises:
            UnfitPasswordError: The new password is too short or too long.
            SignInRefusedError: The present password is wrong.
            TooManySignInsError: It was wrong too often of late.
            UserNotFoundError: The actor is nobody who signs in.
        """
        password_hash = await self._passwords.hash(new)
        await self._logins.sign_in(actor.subject, present, actor.origin)

        def change(connection: Connection) -> str:
            user = _own(connection, actor)
            users.set_password_hash(connection, user.id, password_hash)
            stored_sessions.delete_of_user(connection, user.id)
            self._audit.record(connection, actor, "user.change_own_password", Target("user", actor.subject))
            return self._sessions.begin(connection, user)

        return await self._database.tx(change)

    async def sign_out_everywhere(self, actor: Actor) -> None:
        """End all one's sessions and tokens, this one too.

        Raises:
            UserNotFoundError: The actor is nobody who signs in.
        """

        def sign_out(connection: Connection) -> None:
            stored_sessions.delete_of_user(connection, _own(connection, actor).id)
            revocations.revoke_user(connection, actor.subject, keep=LONGEST_TTL)
            self._audit.record(connection, actor, "user.sign_out", Target("user", actor.subject))

        await self._database.tx(sign_out)


def _own(connection: Connection, actor: Actor) -> User:
    user = users.get(connection, actor.scope, actor.subject, for_update=True)
    if user is None:
        raise UserNotFoundError(f"{actor.subject!r} is nobody who signs in with a password")
    return user
