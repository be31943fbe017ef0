"""Signing in with a name and a password: a few tries, the same answer whoever exists, and a trace of each."""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Actor, ActorKind
from mainspring.domain.write_door import clean_text, verbatim_text
from mainspring.errors import MainspringError
from mainspring.security.audit import Target
from mainspring.security.authentication import SignInRefusedError
from mainspring.security.claims import MAX_NAME
from mainspring.store.identity import login_attempts, users
from mainspring.store.identity.login_attempts import AttemptKind, AttemptLimit

if TYPE_CHECKING:
    from mainspring.domain.access import Origin
    from mainspring.security.audit import Audit
    from mainspring.security.passwords import Passwords
    from mainspring.security.sessions import Sessions
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.identity.users import User

LIMIT: Final = AttemptLimit(most=10, forgiven_after=timedelta(seconds=90))
"""Ten wrong sign-ins, and then one each ninety seconds, for each account and for each address (contract §9)."""
_IPV6_NETWORK_BITS: Final = 64
_ACTION: Final = "session.begin"


class TooManySignInsError(MainspringError):
    """Too many wrong sign-ins of late, for this account or from this address.

    Args:
        wait: After which one more is let through.
    """

    code = "TOO_MANY_SIGN_INS"

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"too many wrong sign-ins: try again in {max(1, round(wait.total_seconds()))} s")
        self.retry_after = wait


class Logins:
    """Lets people in, and out again.

    Args:
        database: Where users and wrong sign-ins are, shared by all nodes.
        audit: Is told of every sign-in, right or wrong.
        passwords: Compares them.
        sessions: Begins the session of who is let in.
        environment: The environment that they sign in to.
    """

    def __init__(
        self, database: Database, audit: Audit, passwords: Passwords, sessions: Sessions, *, environment: str
    ) -> None:
        self._database = database
        self._audit = audit
        self._passwords = passwords
        self._sessions = sessions
        self._environment = environment

    async def sign_in(self, name: str, password: str, origin: Origin, *, previous: str | None = None) -> str:
        """Return the id of a new session.

        Args:
            name: Who says to be signing in.
            password: Its password.
            origin: Where the request comes from; its address is what is limited besides the account.
            previous: The id of the session that the browser had before, which ends.

        Raises:
            SignInRefusedError: The name or the password is wrong, or the user is disabled; which of them is not said.
            TooManySignInsError: This account or this address was wrong too often of late.
            TooBusyError: Too many people sign in at this moment.
        """
        name = verbatim_text(name, MAX_NAME)  # as it was typed: it is compared
        account = hashlib.sha256(name.encode()).hexdigest()  # people type passwords where names belong
        counted = ((AttemptKind.ACCOUNT, account), (AttemptKind.PEER, peer_of(origin.address)))
        found = await self._database.tx(lambda connection: _count_and_find(connection, counted, name))
        user, password_hash = found or (None, None)
        is_right = await self._passwords.verify(password, password_hash)
        if user is None or not is_right:
            await self._database.tx(lambda connection: self._record(connection, name, None, origin))
            raise SignInRefusedError("the name or the password is wrong")

        def let_in(connection: Connection) -> str:
            if users.with_password_hash(connection, name, for_update=True) != found:
                raise SignInRefusedError("the user was changed at this moment: sign in again")
            login_attempts.forget(connection, AttemptKind.ACCOUNT, account)
            # One and not all: with an account of its own, a forger would clear its address again and again.
            login_attempts.forgive_one(connection, *counted[1], LIMIT)
            login_attempts.sweep(connection)
            self._record(connection, name, user, origin)
            return self._sessions.begin(connection, user, previous=previous)

        return await self._database.tx(let_in)

    def let_in(self, connection: Connection, user: User, origin: Origin, *, previous: str | None = None) -> str:
        """Begin the session of somebody who has proved by other means who it is, and return its id.

        Args:
            connection: In the transaction of that proof.
            user: Who is let in.
            origin: Where the request comes from.
            previous: The id of the session that the browser had before, which ends.
        """
        self._record(connection, user.name, user, origin)
        return self._sessions.begin(connection, user, previous=previous)

    async def sign_out(self, actor: Actor, session_id: str) -> None:
        """End the session by which an actor has come."""

        def let_out(connection: Connection) -> None:
            self._sessions.end(connection, session_id)
            self._audit.record(connection, actor, "session.end", Target("user", actor.subject))

        await self._database.tx(let_out)

    def _record(self, connection: Connection, name: str, user: User | None, origin: Origin) -> None:
        actor = Actor(
            clean_text(name, MAX_NAME),
            ActorKind.USER,
            self._environment,
            user.organization_id if user else None,
            origin=origin,
        )
        reason = None if user else "the name or the password is wrong"
        self._audit.record(connection, actor, _ACTION, Target("user", name), reason=reason, allowed=user is not None)


def peer_of(address: str | None) -> str:
    """Return what is limited for an address: itself, or the network of 64 bits that one IPv6 host has for itself.

    Example:
        >>> peer_of("2001:db8:1:2:3:4:5:6"), peer_of("::ffff:192.0.2.7")
        ('2001:db8:1:2::/64', '192.0.2.7')
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _IPV6_NETWORK_BITS), strict=False))


def _count_and_find(
    connection: Connection, counted: tuple[tuple[AttemptKind, str], ...], name: str
) -> tuple[User, str] | None:
    for kind, value in counted:
        wait = login_attempts.count(connection, kind, value, LIMIT)
        if wait is not None:
            raise TooManySignInsError(timedelta(seconds=wait))  # which undoes what was counted before it
    return users.with_password_hash(connection, name)
