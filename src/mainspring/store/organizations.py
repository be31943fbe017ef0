"""Organizations: the rows under whose locks their executions are claimed, at most so many of each at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.store.limit_keys import insert_missing
from mainspring.store.tables import organizations

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa


def ensure(connection: sa.Connection, environment: str, names: Iterable[str]) -> None:
    """Make the rows under whose lock organizations' executions are claimed.

    Call it in a short transaction of its own: an insert in a long one would block everybody who enqueues for the same
    new organization.
    """
    rows = [{"environment": environment, "id": name} for name in sorted(set(names))]
    if rows:
        insert_missing(connection, organizations, rows)
