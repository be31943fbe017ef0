"""Routes that admins and people chose, beside those of the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.domain.route import Route
from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import notification_routes

if TYPE_CHECKING:
    from datetime import datetime

_c = notification_routes.c
_ALL: Final = sa.select(notification_routes).where(_c.environment == sa.bindparam("b_environment")).order_by(_c.name)


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A route that somebody chose.

    Attributes:
        name: Its name; that of a route of the settings replaces that one.
        route: What it says; None: the route of the settings of this name is switched off.
        updated_by: Who chose it.
        updated_at: When.
        version: Grows with each change.
    """

    name: str
    route: Route | None
    updated_by: str
    updated_at: datetime
    version: int


def find(connection: sa.Connection, environment: str) -> list[StoredRoute]:
    """Return the stored routes of an environment, by name."""
    return [_route_of(row) for row in connection.execute(_ALL, {"b_environment": environment})]


def put(connection: sa.Connection, environment: str, name: str, route: Route | None, *, actor: str) -> None:
    """Write a route under its name; None switches off the one of the settings."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    given = {
        "body": None if route is None else orjson.dumps(route.as_json()).decode(),
        "updated_by": actor,
        "updated_at": store_now(),
    }
    connection.execute(
        insert(notification_routes)
        .values(environment=environment, name=name, **given)
        .on_conflict_do_update(
            index_elements=["environment", "name"], set_=given | {"version": notification_routes.c.version + 1}
        )
    )


def remove(connection: sa.Connection, environment: str, name: str) -> bool:
    """Remove what is stored under a name: what the settings say counts again. False: nothing was."""
    mine = sa.delete(notification_routes).where(_c.environment == environment, _c.name == name)
    return connection.execute(mine).rowcount == 1


def _route_of(row: Any) -> StoredRoute:  # noqa: ANN401 - a row of either driver
    route = None if row.body is None else Route.read(orjson.loads(row.body))
    return StoredRoute(row.name, route, row.updated_by, row.updated_at, row.version)
