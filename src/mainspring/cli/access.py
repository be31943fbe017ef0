"""What commands that change something work with, and who runs them: audited like any other actor."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.control.access import AccessChanges
    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.security.secret_key import SecretKey


@dataclass(frozen=True, slots=True)
class AccessAtTerminal:
    """Changes of who may do what, for a command.

    Attributes:
        audit: Where they are written.
        changes: Makes them, with audit.
        actor: Whoever runs the command.
        secret_key: The secret key in force.
    """

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
            audit,
            AccessChanges(app.opened.database, audit),
            Actor.at_terminal(app.settings.environment, login()),
            secret_key,
        )

    def executions(self, app: Mainspring) -> ExecutionCommands:
        """Return the commands on executions of an application whose store is open."""
        from mainspring.control.executions import ExecutionCommands

        return ExecutionCommands(
            database=app.opened.database,
            registry=app.registry,
            signals=app.opened.signals,
            world=app.world,
            environment=app.settings.environment,
            cipher=app.cipher,
            audit=self.audit,
        )


def login() -> str:
    """Return the name by which the operating system knows whoever runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "unknown"
