"""Who is calling, and what it may, as routes ask for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mainspring.api.services import CurrentServices, Services
from mainspring.domain.access import Actor, Origin, Permission
from mainspring.errors import PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.security.authentication import AuthenticationError

if TYPE_CHECKING:
    from mainspring.security.identity import Identity
    from mainspring.security.peers import TrustedProxies

_VIEW_SETTINGS: Final = "settings.view"
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
_HOW_TO_AUTHENTICATE: Final = (
    "send the header `Authorization` with the word Bearer, a space, and what `mainspring token create` or "
    "`mainspring key create` has printed"
)
_bearer = HTTPBearer(auto_error=False, description="A token (JWT), or a key of `mainspring key create`.")

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def actor_of(request: Request, services: CurrentServices, credentials: Credentials) -> Actor:
    """Return who is calling.

    Raises:
        AuthenticationError: There is no bearer credential, or it does not hold.
        TooManyRequestsError: It asks more often than is taken.
    """
    origin = _origin_of(request, services.proxies)
    try:
        actor = await _identified(services.identity, credentials, origin)
    except AuthenticationError:
        services.rate_limits.admit_stranger(origin.address)
        raise
    services.rate_limits.admit(actor)
    return actor


def count_stranger(request: Request, services: Services) -> None:
    """Count a request without a credential that holds.

    Raises:
        TooManyRequestsError: It is one too many from its address.
    """
    services.rate_limits.admit_stranger(_origin_of(request, services.proxies).address)


async def _identified(identity: Identity, credentials: HTTPAuthorizationCredentials | None, origin: Origin) -> Actor:
    if credentials is None:
        raise AuthenticationError(_HOW_TO_AUTHENTICATE)
    return await identity.actor_of(credentials.credentials, origin)


def _origin_of(request: Request, proxies: TrustedProxies) -> Origin:
    peer = request.client.host if request.client else None
    address = proxies.client_of(peer, request.headers.getlist("x-forwarded-for"))
    return Origin(request_id=request.state.request_id, address=address)


CurrentActor = Annotated[Actor, Depends(actor_of)]


def actor_who_may(permission: Permission, action: str) -> Callable[[Request, Services, Actor], Awaitable[Actor]]:
    """Return a dependency that gives the caller, if it holds a permission; a denial is audited.

    Args:
        permission: What it must be allowed.
        action: What it wants to do, in the words of the audit, for instance `execution.view`.
    """

    async def check(request: Request, services: CurrentServices, actor: CurrentActor) -> Actor:
        await services.audit.require(actor, permission, action, Target("path", request.url.path))
        return actor

    return check


async def allow_this_machine_or_readers(request: Request, services: CurrentServices, credentials: Credentials) -> None:
    """Let in whoever is on this machine, and elsewhere those who may read the settings.

    Raises:
        AuthenticationError: The request may come from elsewhere, and nobody knows who sends it.
        PermissionDeniedError: The caller may not read the settings.
    """
    await _reader(request, services, credentials)


async def allow_this_machine_or_staff(request: Request, services: CurrentServices, credentials: Credentials) -> None:
    """Let in whoever is on this machine, and elsewhere those of the platform who may read the settings.

    Raises:
        AuthenticationError: The request may come from elsewhere, and nobody knows who sends it.
        PermissionDeniedError: The caller may not read the settings, or those of its organization alone.
    """
    actor = await _reader(request, services, credentials)
    if actor is not None and actor.organization_id is not None:
        refusal = PermissionDeniedError(
            f"{actor.subject!r} may not see this: it tells of all organizations, and is for those who belong to none"
        )
        await services.audit.deny(actor, _VIEW_SETTINGS, Target("path", request.url.path), refusal)


async def _reader(
    request: Request, services: Services, credentials: HTTPAuthorizationCredentials | None
) -> Actor | None:
    """Return who reads the settings; None: whoever is on this machine.

    A proxy on this machine brings requests from others, and says so in a header.
    """
    if request.app.state.is_loopback and not any(name in request.headers for name in _FORWARDED):
        return None
    actor = await actor_of(request, services, credentials)
    target = Target("path", request.url.path)
    await services.audit.require(actor, Permission.READ_ADMIN_SETTINGS, _VIEW_SETTINGS, target)
    return actor
