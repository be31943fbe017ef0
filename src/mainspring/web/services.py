"""What the pages work with, made when the application has opened its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mainspring.control.commands import Commands
from mainspring.live.hub import Hub
from mainspring.security.audit import Audit
from mainspring.security.logins import Logins
from mainspring.security.passwords import Passwords
from mainspring.security.peers import TrustedProxies
from mainspring.security.secret_key import Purpose, SecretKey, secret_key_in_force
from mainspring.security.sessions import Sessions
from mainspring.security.sign_in_links import SignInLinks

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.upkeep.open_store import OpenStore

CSRF_CONTEXT = "forms of the dashboard"
LINK_CONTEXT = "sign-in links"


@dataclass(frozen=True, slots=True)
class Services:
    """The services behind the pages of one application.

    Attributes:
        app: The application.
        opened: The store that they work on; another one means that they have to be made anew.
        secret_key: The secret key in force.
        audit: Permissions and the audit.
        commands: What changes something, with audit.
        sessions: Who has signed in.
        passwords: Compares them.
        logins: Lets people in.
        links: Lets them in once without a password.
        proxies: Whose word about the address of a client is believed.
        hub: Tells what changes.
    """

    app: Mainspring
    opened: OpenStore
    secret_key: SecretKey
    audit: Audit
    commands: Commands
    sessions: Sessions
    passwords: Passwords
    logins: Logins
    links: SignInLinks
    proxies: TrustedProxies
    hub: Hub

    @classmethod
    def of(cls, app: Mainspring, hub: Hub | None = None) -> Services:
        """Return the services of an application whose store is open.

        Args:
            app: The application.
            hub: That of the process, where it has one.
        """
        settings, world, opened = app.settings, app.world, app.opened
        secret_key = secret_key_in_force(settings, world)
        audit = Audit(opened.database, world, secret_key.derive(Purpose.AUDIT))
        sessions = Sessions(opened.database, settings.environment, world)
        passwords = Passwords(world)
        return cls(
            app=app,
            opened=opened,
            secret_key=secret_key,
            audit=audit,
            commands=app.commands(audit),
            sessions=sessions,
            passwords=passwords,
            logins=Logins(opened.database, audit, passwords, sessions, environment=settings.environment),
            links=sign_in_links(app),
            proxies=TrustedProxies(settings.trusted_proxies),
            hub=hub or Hub(opened.database, opened.signals, environment=settings.environment, world=world),
        )


def sign_in_links(app: Mainspring) -> SignInLinks:
    """Return what makes and takes the sign-in links of an application."""
    secret_key = secret_key_in_force(app.settings, app.world)
    return SignInLinks(secret_key.derive(Purpose.TICKET, LINK_CONTEXT), app.world)
