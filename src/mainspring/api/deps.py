"""What routes ask for: the services of the application, who is calling, and what it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.api.kept_answers import KeptAnswers
from mainspring.api.rate_limit import RateLimits
from mainspring.control.callbacks import Callbacks
from mainspring.control.commands import Commands
from mainspring.domain.access import Actor, Origin, Permission
from mainspring.egress.client import Egress
from mainspring.errors import PermissionDeniedError
from mainspring.observability.logs import process_log_writer
from mainspring.redis_backend.answer_cache import answer_cache
from mainspring.security.audit import Audit, Target
from mainspring.security.authentication import AuthenticationError
from mainspring.security.identity import Identity
from mainspring.security.peers import TrustedProxies
from mainspring.security.secret_key import Purpose, SecretKey, secret_keys_in_force

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.engine.database import Database

_VIEW_SETTINGS: Final = "settings.view"
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
_HOW_TO_AUTHENTICATE: Final = (
    "send the header `Authorization` with the word Bearer, a space, and what `mainspring token create` or "
    "`mainspring key create` has printed"
)
_bearer = HTTPBearer(auto_error=False, description="A token (JWT), or a key of `mainspring key create`.")


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with, made when the application has opened its store.

    Attributes:
        app: The application.
        database: Its open store, for reads.
        commands: What changes something, with audit.
        audit: Permissions and the audit.
        identity: Reads bearer credentials.
        proxies: Whose word about the address of a client is believed.
        rate_limits: How often somebody may ask.
        egress: The way out, to the keys of an identity provider.
        callbacks: What services tell of the attempts that they carry out.
        secret_keys: The secret key in force, and the one before it while that still holds.
        telling: Whom alerts are told to.
        answers: Answers that are kept while they are true.
    """

    app: Mainspring
    database: Database
    commands: Commands
    audit: Audit
    identity: Identity
    proxies: TrustedProxies
    rate_limits: RateLimits
    egress: Egress
    callbacks: Callbacks
    secret_keys: Sequence[SecretKey]
    telling: NotificationSettings
    answers: KeptAnswers

    @classmethod
    def of(cls, app: Mainspring, key: SecretKey) -> Services:
        """Return the services of an application whose store is open."""
        settings, world, opened = app.settings, app.world, app.opened
        audit = Audit(opened.database, world, key.derive(Purpose.AUDIT))
        egress = Egress(settings.egress_allow, world=world)
        return cls(
            app=app,
            database=opened.database,
            commands=app.commands(audit),
            audit=audit,
            identity=Identity(
                settings,
                database=opened.database,
                secret_key=key,
                egress=egress,
                world=world,
            ),
            proxies=TrustedProxies(settings.trusted_proxies),
            rate_limits=RateLimits(world),
            egress=egress,
            callbacks=Callbacks(
                opened.database,
                opened.signals,
                world=world,
                lease=settings.callback_lease,
                metrics=app.metrics,
                log_writer=process_log_writer(),
                sentry=app.sentry,
            ),
            secret_keys=[key, *secret_keys_in_force(settings, world)[1:]],
            telling=NotificationSettings.of(settings, world),
            answers=KeptAnswers(opened.database, settings.environment, answer_cache(settings, world)),
        )

    async def close(self) -> None:
        """Let go of what only the routes need."""
        self.egress.close()
        await self.answers.close()


def services_of(request: Request) -> Services:
    """Return the services of the application that serves a request."""
    return request.app.state.services


CurrentServices = Annotated[Services, Depends(services_of)]


def commands_of(services: CurrentServices) -> Commands:
    """Return what a request may change."""
    return services.commands


CurrentCommands = Annotated[Commands, Depends(commands_of)]
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
