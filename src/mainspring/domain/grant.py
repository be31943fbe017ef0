"""What somebody is about to be allowed, and the rule that nobody grants more than they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.domain.access import Actor, Role


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, within an organization or over all of them.

    Attributes:
        role: What it allows.
        organization_id: Whose rows it shows; None: those of all organizations.
    """

    role: Role
    organization_id: str | None = None

    def is_within(self, actor: Actor) -> bool:
        """Whether an actor has all that this grants: each permission, and the sight of all the same rows.

        Example:
            >>> admin = Actor("eve", ActorKind.USER, "dev", "acme", Role.ADMIN.permissions, sees_organization=True)
            >>> Grant(Role.ADMIN, "acme").is_within(admin), Grant(Role.VIEWER, "globex").is_within(admin)
            (True, False)
        """
        return self._shows_no_more_than(actor) and all(map(actor.may, self.role.permissions))

    def _shows_no_more_than(self, actor: Actor) -> bool:
        if actor.organization_id is None:
            return True
        return self.organization_id == actor.organization_id and (
            actor.sees_organization or not self.role.sees_organization
        )
