"""Views of the list of runs that people have saved: a name, and the query of its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from mainspring.store.engine.dialect import store_now
from mainspring.store.tables import saved_views

if TYPE_CHECKING:
    from mainspring.domain.access import Actor

MOST: Final = 50
"""Views of one person."""
_row = saved_views.c


@dataclass(frozen=True, slots=True)
class SavedView:
    """A view.

    Attributes:
        name: What its owner calls it.
        address: The query of its address, such as `q=status%3Afailed`.
    """

    name: str
    address: str


def of_owner(connection: sa.Connection, owner: Actor) -> list[SavedView]:
    """Return the views of a person, by name."""
    found = sa.select(_row.name, _row.address).where(*_owned_by(owner)).order_by(_row.name).limit(MOST)
    return [SavedView(row.name, row.address) for row in connection.execute(found)]


def save(connection: sa.Connection, owner: Actor, view: SavedView) -> bool:
    """Keep a view, in the place of the one of that name; False where its owner has as many as one may have."""
    if len(of_owner(connection, owner)) >= MOST and not remove(connection, owner, view.name):
        return False
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = insert(saved_views).values(
        environment=owner.environment,
        owner=owner.subject,
        name=view.name,
        address=view.address,
        created_at=store_now(),
    )
    key = [_row.environment, _row.owner, _row.name]
    connection.execute(new.on_conflict_do_update(index_elements=key, set_={"address": view.address}))
    return True


def remove(connection: sa.Connection, owner: Actor, name: str) -> bool:
    """Forget a view; False: there is none of that name."""
    return connection.execute(sa.delete(saved_views).where(*_owned_by(owner), _row.name == name)).rowcount > 0


def _owned_by(owner: Actor) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return _row.environment == owner.environment, _row.owner == owner.subject
