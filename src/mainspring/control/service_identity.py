"""Which service acts, and for which names: its key says both, and what a request says besides must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.domain.access import ActorKind, Permission
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Target

if TYPE_CHECKING:
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit


async def require_service(audit: Audit, actor: Actor, action: str, target: Target, service_name: str | None) -> str:
    """Return the service that acts, if it is the one that it says it is.

    Args:
        audit: Where a denial is written.
        actor: Who acts.
        action: What it does, in the words of the audit.
        target: What it does that to.
        service_name: What it calls itself; None: as its key does.

    Raises:
        PermissionDeniedError: It has no key of a service, or the key is another service's.
    """
    await audit.require(actor, Permission.REGISTER_JOBS, action, target)
    if actor.kind is not ActorKind.SERVICE or actor.name_prefix is None:
        refusal = (
            f"{actor.subject!r} may register no jobs: send the key that `mainspring key create --service NAME --prefix "
            "PREFIX` prints, for jobs whose names begin with that prefix"
        )
        await audit.deny(actor, action, target, PermissionDeniedError(refusal))
    if service_name is not None and service_name != actor.subject:
        refusal = (
            f"the key is that of the service {actor.subject!r}, and may not speak for {service_name!r}: send "
            f"{actor.subject!r} as `serviceName`, or make a key with `mainspring key create --service {service_name} "
            "--prefix PREFIX`"
        )
        await audit.deny(actor, action, target, PermissionDeniedError(refusal))
    return actor.subject


async def require_own_name(audit: Audit, actor: Actor, action: str, name: str) -> None:
    """Return if a job's name begins with the prefix of the key of the service that acts.

    Raises:
        PermissionDeniedError: It does not.
    """
    if not name.startswith(actor.name_prefix or ""):
        refusal = (
            f"the key of the service {actor.subject!r} is for jobs whose names begin with {actor.name_prefix!r}, and "
            f"{name!r} does not: rename the job, or make another key with `mainspring key create --service "
            f"{actor.subject} --prefix PREFIX`"
        )
        await audit.deny(actor, action, Target("job", name), PermissionDeniedError(refusal))
