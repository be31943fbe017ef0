"""Who looks at the dashboard of the demo: an admin without a password, let in by a link that holds once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from mainspring.app import Mainspring

VISITOR: Final = "demo"


async def sign_in_link(app: Mainspring, url: str) -> str:
    """Return an address that lets its first visitor in as an admin, within ten minutes and from this machine alone.

    Args:
        app: The demo's application.
        url: Where it is served.
    """
    from mainspring.web.services import sign_in_links

    await _settle(app)
    return f"{url}/ui/sign-in/link?{urlencode({'word': sign_in_links(app).issue(VISITOR)})}"


async def _settle(app: Mainspring) -> None:
    """Add the visitor, unless the store is from an earlier time; nobody knows the password."""
    from mainspring.cli.access import AccessAtTerminal
    from mainspring.control.users import UserCommands, UserExistsError
    from mainspring.domain.access import Role
    from mainspring.domain.grant import Grant
    from mainspring.security.passwords import Passwords

    access, passwords = AccessAtTerminal.of(app), Passwords(app.world)
    users = UserCommands(access.changes, passwords, app.world)
    try:
        await users.create(access.actor, VISITOR, Grant(Role.ADMIN, None), app.world.token())
    except UserExistsError:
        pass
    finally:
        passwords.close()
