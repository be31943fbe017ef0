"""The services of an application as routes ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.api.kept_answers import KeptAnswers
from mainspring.api.rate_limit import RateLimits
from mainspring.control.callbacks import Callbacks
from mainspring.control.commands import Commands
from mainspring.egress.client import Egress
from mainspring.observability.logs import process_log_writer
from mainspring.redis_backend.answer_cache import answer_cache
from mainspring.security.audit import Audit
from mainspring.security.identity import Identity
from mainspring.security.peers import TrustedProxies
from mainspring.security.secret_key import Purpose, SecretKey, secret_keys_in_force

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.engine.database import Database


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
