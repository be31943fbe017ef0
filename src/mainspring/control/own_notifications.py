"""What people choose to be told themselves: by mail to their own address, and by a webhook that the operator allows.

It needs no right to change the settings of everybody: a person's route leads to that person alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mainspring.alerts.recipients import is_mail_address
from mainspring.control.notification_routes import RouteNotFoundError, UnfitRouteError
from mainspring.domain.access import ActorKind, Permission
from mainspring.domain.redaction import redact_text
from mainspring.domain.route import Route, own_route_name
from mainspring.egress.addresses import AllowList
from mainspring.egress.webhook_url import require_webhook_url
from mainspring.errors import DefinitionError, PermissionDeniedError
from mainspring.security.audit import Target
from mainspring.store.alerting import notification_routes
from mainspring.store.identity import users

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainspring.alerts.recipients import Recipients
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.settings import Settings
    from mainspring.store.alerting.notification_routes import StoredRoute
    from mainspring.store.engine.database import Connection, Database

OWN_CHANNELS: Final = ("email", "webhook")
_FORBIDDEN: Final = {"owner", "after", "destination", "channel", "name", "environments"}


@dataclass(frozen=True, slots=True)
class OwnNotifications:
    """What somebody is told themselves, and what they may choose.

    Attributes:
        address: Where they get mail; None: nowhere that is known.
        webhook_hosts: Hosts, or patterns of hosts, to which their webhook may lead.
        routes: What they chose.
    """

    address: str | None
    webhook_hosts: Sequence[str]
    routes: Sequence[Route]


class OwnNotificationCommands:
    """Commands on what the actor itself is told, each with permission, change and audit in one transaction.

    Args:
        database: The store.
        audit: Permission and audit.
        recipients: Says where people get mail, where the application knows.
        settings: Which webhooks the operator allows.
        declared: Names of the routes of the settings, which nobody takes.
    """

    def __init__(
        self, database: Database, audit: Audit, recipients: Recipients, settings: Settings, declared: Sequence[str]
    ) -> None:
        self._database = database
        self._audit = audit
        self._recipients = recipients
        self._settings = settings
        self._declared = declared

    async def show(self, actor: Actor) -> OwnNotifications:
        """Return what the actor chose, and what it may choose.

        Raises:
            PermissionDeniedError: It is no person, or of those to whom alerts are not shown.
        """
        await self._require(actor, "route.own.view", Target("route", actor.subject))
        stored = await self._database.read(lambda connection: notification_routes.find(connection, actor.environment))
        own = [item.route for item in stored if item.route is not None and _is_of(item, actor)]
        return OwnNotifications(await self._address(actor), self._settings.own_webhook_hosts, own)

    async def put(self, actor: Actor, channel: str, given: Mapping[str, object], *, url: str | None = None) -> None:
        """Choose what the actor is told by a channel.

        Args:
            actor: Who is told.
            channel: `email` or `webhook`.
            given: What `Route.read` reads, without channel, destination, owner and escalation.
            url: Where the webhook leads; None: where it leads already.

        Raises:
            PermissionDeniedError: It is no person, or of those to whom alerts are not shown.
            UnfitRouteError: It cannot be read, no address is known, or the webhook leads where it may not.
        """
        name = own_route_name(channel, actor.subject)
        action, target = "route.own.put", Target("route", name)
        await self._require(actor, action, target)
        destination = await self._destination(actor, channel, url)
        route = _read(given, Route(channel, destination, name=name, owner=actor.subject))

        def change(connection: Connection) -> None:
            before = self._own(connection, actor, name)
            if name in self._declared or (before is not None and not _is_of(before, actor)):
                raise UnfitRouteError(f"a route {name!r} exists that is not yours: ask an admin to rename it")
            notification_routes.put(connection, actor.environment, name, route, actor=actor.subject)
            self._audit.record(connection, actor, action, target, before=_audited(before), after=_shown(route))

        await self._database.tx(change)

    async def remove(self, actor: Actor, channel: str) -> None:
        """Tell the actor nothing more by a channel, beyond what everybody is told.

        Raises:
            PermissionDeniedError: It is no person, or of those to whom alerts are not shown.
            RouteNotFoundError: It has chosen nothing there.
        """
        name = own_route_name(channel, actor.subject)
        action, target = "route.own.remove", Target("route", name)
        await self._require(actor, action, target)

        def change(connection: Connection) -> None:
            before = self._own(connection, actor, name)
            if before is None or not _is_of(before, actor):
                raise RouteNotFoundError(f"you have chosen nothing by {channel}")
            notification_routes.remove(connection, actor.environment, name)
            self._audit.record(connection, actor, action, target, before=_audited(before), after={"route": None})

        await self._database.tx(change)

    async def _require(self, actor: Actor, action: str, target: Target) -> None:
        await self._audit.require_staff(actor, Permission.READ_ADMIN_SETTINGS, action, target)
        if actor.kind is not ActorKind.USER:
            refusal = f"{actor.subject!r} is no person: routes of programs are at `/admin/notification-routes`"
            await self._audit.deny(actor, action, target, PermissionDeniedError(refusal))

    async def _address(self, actor: Actor) -> str | None:
        if self._recipients.address_book is not None:
            address = await self._recipients.address_in_book(actor.subject, None)
        else:
            person = await self._person(actor)
            address = None if person is None else person.name
        return address if address is not None and is_mail_address(address) else None

    async def _person(self, actor: Actor) -> users.User | None:
        return await self._database.read(lambda connection: users.get(connection, actor.scope, actor.subject))

    async def _destination(self, actor: Actor, channel: str, url: str | None) -> str:
        if channel not in OWN_CHANNELS:
            raise UnfitRouteError(f"you can be told by {' or '.join(OWN_CHANNELS)}, not by {channel!r}")
        if await self._person(actor) is None:
            raise UnfitRouteError(f"nobody called {actor.subject!r} signs in here: only people of this store are told")
        if channel == "email":
            address = await self._address(actor)
            if address is None:
                raise UnfitRouteError("no mail address of yours is known: sign in under it, or ask an admin")
            return address
        if url is None:
            kept = next(
                (route.destination for route in (await self.show(actor)).routes if route.channel == channel), None
            )
            if kept is None:
                raise UnfitRouteError("url is missing: where your webhook leads")
            return kept
        host = urlsplit(url).hostname or ""
        if not any(fnmatchcase(host, pattern) for pattern in self._settings.own_webhook_hosts):
            raise UnfitRouteError(
                f"webhooks of people may not lead to {host!r}: an admin names the hosts in MAINSPRING_OWN_WEBHOOK_HOSTS"
            )
        require_webhook_url(url, AllowList.read(self._settings.egress_allow))
        return url

    @staticmethod
    def _own(connection: Connection, actor: Actor, name: str) -> StoredRoute | None:
        found = notification_routes.find(connection, actor.environment)
        return next((item for item in found if item.name == name), None)


def _read(given: Mapping[str, object], own: Route) -> Route:
    if taken := sorted(_FORBIDDEN & given.keys()):
        raise UnfitRouteError(f"{taken[0]} is not yours to choose")
    try:
        route = Route.read({"channel": own.channel, **given})
    except DefinitionError as error:
        raise UnfitRouteError(str(error)) from None
    return replace(route, destination=own.destination, name=own.name, owner=own.owner)


def _is_of(stored: StoredRoute, actor: Actor) -> bool:
    return stored.route is not None and stored.route.is_own and stored.route.owner == actor.subject


def _shown(route: Route) -> dict[str, object]:
    return {"route": route.as_json() | {"destination": redact_text(route.destination)}}


def _audited(stored: StoredRoute | None) -> dict[str, object]:
    return {"route": None} if stored is None or stored.route is None else _shown(stored.route)
