"""The role that tests reach PostgreSQL by: one that runs nodes, with the grants that we print and no others (S51)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


async def migrate(url: str) -> None:
    """Bring an empty database to the present schema, and make the role, which this and each copy of it let in.

    The role may make tables of the application's own beside ours.

    Args:
        url: The database, for its owner.
    """
    from mainspring.store.engine.postgresql_database import PostgresqlDatabase
    from mainspring.store.upkeep import schema
    from mainspring.store.upkeep.grants import grants_for
    from mainspring.world import RealWorld

    database = PostgresqlDatabase(url, schema="mainspring", world=RealWorld(), clock_shift=float)
    await database.open()
    await schema.upgrade(database)
    await database.close()
    own_tables = f"grant create on schema public to {_role()}"
    await run_statements(url, [f"create role {_role()} login", *grants_for(_role(), "mainspring"), own_tables])


def node_url(url: str) -> str:
    """Return the address of a database for the role of nodes, given that for its owner."""
    return url.replace("postgres:@", f"{_role()}:@")


def _role() -> str:
    """Return the name of the role, which the databases of one worker of pytest-xdist have in common."""
    return f"nodes_of_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"


async def run_statements(url: str, statements: Sequence[str]) -> None:
    """Execute statements, each by itself."""
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()
