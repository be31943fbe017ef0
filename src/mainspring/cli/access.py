"""What commands that change something work with, and who runs them: audited like any other actor."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.control.access import AccessChanges
    from mainspring.control.commands import Commands
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.security.secret_key import SecretKey


@dataclass(frozen=True, slots=True)
class AccessAtTerminal:
    """What a command changes, and as whom.

    Attributes:
        app: The application, its store open.
        audit: Where changes are written.
        changes: Those of who may do what, with audit.
        actor: Whoever runs the command.
        secret_key: The secret key in force.
    """

    app: Mainspring
    audit: Audit
    changes: AccessChanges
    actor: Actor
    secret_key: SecretKey

    @classmethod
    def of(cls, app: Mainspring) -> AccessAtTerminal:
        """Return it for an application whose store is open.

        Raises:
            ConfigurationError: There is no secret key, and there has to be one.
        """
        from mainspring.control.access import AccessChanges
        from mainspring.domain.access import Actor
        from mainspring.security.audit import Audit
        from mainspring.security.secret_key import Purpose, secret_key_in_force

        secret_key = secret_key_in_force(app.settings, app.world)
        audit = Audit(app.opened.database, app.world, secret_key.derive(Purpose.AUDIT))
        return cls(
            app,
            audit,
            AccessChanges(app.opened.database, audit),
            Actor.at_terminal(app.settings.environment, login()),
            secret_key,
        )

    @property
    def commands(self) -> Commands:
        """All else that may be changed, with audit."""
        return self.app.commands(self.audit)


def login() -> str:
    """Return the name by which the operating system knows whoever runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "unknown"
