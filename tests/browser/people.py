"""People of the shop, and how they come to be signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.domain.access import Role, Scope
from mainspring.security.passwords import Passwords
from mainspring.security.sessions import Sessions
from mainspring.store.identity import users
from mainspring.web.visit import SESSION_COOKIE

if TYPE_CHECKING:
    import sqlalchemy as sa
    from playwright.async_api import BrowserContext

    from mainspring import Mainspring

ADMIN: Final = "grace.hopper"
OTHER_ADMIN: Final = "ada.lovelace"
OPERATOR: Final = "alan.turing"
VIEWER: Final = "edsger.dijkstra"
ROLES: Final = {ADMIN: Role.ADMIN, OTHER_ADMIN: Role.ADMIN, OPERATOR: Role.OPERATOR, VIEWER: Role.VIEWER}
PASSWORD: Final = "correct horse battery staple"


async def settle(app: Mainspring) -> None:
    """Add the people, who may sign in with the password."""
    hashed = await Passwords(app.world).hash(PASSWORD)

    def add(connection: sa.Connection) -> None:
        for name, role in ROLES.items():
            users.insert(connection, app.world.new_id(), name, role=role, organization_id=None, password_hash=hashed)

    await app.opened.database.tx(add)


async def session_of(app: Mainspring, name: str) -> str:
    """Sign somebody in without the page for it, and return the id of the session."""
    sessions = Sessions(app.opened.database, app.settings.environment, app.world)

    def begin(connection: sa.Connection) -> str:
        person = next(user for user in users.find(connection, Scope(app.settings.environment)) if user.name == name)
        return sessions.begin(connection, person)

    return await app.opened.database.tx(begin)


async def sign_in(context: BrowserContext, app: Mainspring, name: str, dashboard: str) -> None:
    """Sign somebody in, in all windows of a context.

    Args:
        context: Of the browser.
        app: The application.
        name: Who.
        dashboard: The address of the dashboard, without a slash at its end.
    """
    session = await session_of(app, name)
    await context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": f"{dashboard}/", "httpOnly": True}])
