"""Whom the doors of the platform let in: those who belong to no organization, each with its permission."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request

from mainspring.api.callers import CurrentActor
from mainspring.api.services import CurrentServices, Services
from mainspring.domain.access import Actor, Permission
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Target


def staff_who_may(permission: Permission, action: str) -> Callable[[Request, Services, Actor], Awaitable[Actor]]:
    """Return a dependency that gives the caller, if it is platform staff and holds a permission; a denial is audited.

    Args:
        permission: What it must be allowed.
        action: What it wants to do, in the words of the audit, for instance `job.trigger`.
    """

    async def check(request: Request, services: CurrentServices, actor: CurrentActor) -> Actor:
        target = Target("path", request.url.path)
        if actor.organization_id is not None:
            refusal = PermissionDeniedError(
                f"{actor.subject!r} may not come here: this is for the staff of the platform, who belong to no "
                "organization; jobs of an organization are at `/v1/jobs`"
            )
            await services.audit.deny(actor, action, target, refusal)
        await services.audit.require(actor, permission, action, target)
        return actor

    return check
