"""Who acts, and whose rows they see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """What kind of principal acts."""

    USER = "user"
    SERVICE = "service"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a query sees; a mandatory part of every list and get.

    Attributes:
        environment: The environment; always one.
        organization_id: One organization's rows alone; None: all.
        user_id: One user's rows alone; None: all of the organization.
    """

    environment: str
    organization_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        subject: The user's or service's id.
        kind: What kind of principal it is.
        environment: The environment it acts in.
        organization_id: Its organization; None: platform staff or the application itself.
        permissions: What it may do, in the seeds' spellings.
        sees_organization: Whether it sees all rows of its organization, not only its own.
    """

    subject: str
    kind: ActorKind
    environment: str
    organization_id: str | None = None
    permissions: frozenset[str] = frozenset()
    sees_organization: bool = False

    @property
    def scope(self) -> Scope:
        """Return whose rows it sees (contract §6, "who sees what")."""
        if self.organization_id is None:
            return Scope(self.environment)
        return Scope(self.environment, self.organization_id, None if self.sees_organization else self.subject)

    @classmethod
    def application(cls, environment: str) -> Actor:
        """Return the application itself: may do everything, and is not audited."""
        return cls("SYSTEM", ActorKind.SYSTEM, environment)
