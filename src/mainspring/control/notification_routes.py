"""What people choose to be told: routes beside those of the settings, or in their place."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mainspring.alerts.notification_settings import require_channel
from mainspring.domain.access import Permission
from mainspring.domain.route import Route
from mainspring.errors import DefinitionError, MainspringError
from mainspring.security.audit import Target
from mainspring.store.alerting import notification_routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.alerts.notification_settings import NotificationSettings
    from mainspring.domain.access import Actor
    from mainspring.security.audit import Audit
    from mainspring.store.alerting.notification_routes import StoredRoute
    from mainspring.store.engine.database import Connection, Database

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,199}")


class RouteNotFoundError(MainspringError):
    """Nothing is stored under that name."""

    code = "ROUTE_NOT_FOUND"


class UnfitRouteError(DefinitionError):
    """A route that cannot be read, or leads to a channel that is not installed."""

    code = "UNFIT_ROUTE"


class RouteCommands:
    """Commands on routes, each with permission, change and audit in one transaction.

    Args:
        database: The store.
        audit: Permission and audit.
        telling: The routes of the settings.
    """

    def __init__(self, database: Database, audit: Audit, telling: NotificationSettings) -> None:
        self._database = database
        self._audit = audit
        self._telling = telling

    async def put(self, actor: Actor, name: str, given: Mapping[str, object] | None) -> None:
        """Choose what is told by a route.

        Args:
            actor: Who chooses.
            name: The route; that of one of the settings changes that one.
            given: What `Route.read` reads; None: nothing is told by it.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            UnfitRouteError: It cannot be read, or there is no such channel.
            RouteNotFoundError: A route that the settings do not have cannot be switched off.
        """
        action, target = "route.put", Target("route", name)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)
        route = None if given is None else _read(name, given)
        if route is None and all(declared.name != name for declared in self._telling.routes):
            raise RouteNotFoundError(f"the settings have no route {name!r} that could be switched off: remove yours")

        def change(connection: Connection) -> None:
            before = _stored(connection, actor, name)
            notification_routes.put(connection, actor.environment, name, route, actor=actor.subject)
            self._audit.record(
                connection,
                actor,
                action,
                target,
                before={"route": _of(before)},
                after={"route": None if route is None else route.as_json()},
            )

        await self._database.tx(change)

    async def remove(self, actor: Actor, name: str) -> None:
        """Take back what was chosen: what the settings say counts again.

        Raises:
            PermissionDeniedError: The actor lacks `ADMIN_SETTINGS_WRITE`.
            RouteNotFoundError: Nothing is stored under that name.
        """
        action, target = "route.remove", Target("route", name)
        await self._audit.require(actor, Permission.WRITE_ADMIN_SETTINGS, action, target)

        def change(connection: Connection) -> None:
            before = _stored(connection, actor, name)
            if not notification_routes.remove(connection, actor.environment, name):
                raise RouteNotFoundError(f"nobody has chosen a route {name!r}: `GET /admin/notification-routes` tells")
            self._audit.record(connection, actor, action, target, before={"route": _of(before)}, after={"route": None})

        await self._database.tx(change)


def _read(name: str, given: Mapping[str, object]) -> Route:
    if not _NAME.fullmatch(name):
        raise UnfitRouteError(f"a route cannot be called {name!r}: use letters, digits, spaces, dots, hyphens and @")
    try:
        route = replace(Route.read(given), name=name)
        require_channel(route)
    except DefinitionError as error:
        raise UnfitRouteError(str(error)) from None
    return route


def _stored(connection: Connection, actor: Actor, name: str) -> StoredRoute | None:
    found = notification_routes.find(connection, actor.environment)
    return next((item for item in found if item.name == name), None)


def _of(stored: StoredRoute | None) -> dict[str, object] | None:
    return None if stored is None or stored.route is None else stored.route.as_json()
