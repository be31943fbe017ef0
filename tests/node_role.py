"""The role that tests reach PostgreSQL by: one that runs nodes, with the grants that we print and no others (S51)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import create_async_engine

from mainspring.store.grants import grants_for

if TYPE_CHECKING:
    from collections.abc import Sequence


async def make_node_role(url: str) -> str:
    """Make the role for a database with the present schema.

    Args:
        url: The database, for its owner.

    Returns:
        The database, for the role of nodes. It may make tables of the application's own beside ours.
    """
    role = _role(url)
    own_tables = f"grant create on schema public to {role}"
    await run_statements(url, [f"create role {role} login", *grants_for(role, "mainspring"), own_tables])
    return node_url(url)


def node_url(url: str) -> str:
    """Return the address of a database for the role of nodes, given that for its owner."""
    return url.replace("postgres:@", f"{_role(url)}:@")


def _role(url: str) -> str:
    return f"nodes_of_{url.partition('?')[0].rpartition('/')[2]}"


async def run_statements(url: str, statements: Sequence[str]) -> None:
    """Execute statements, each by itself."""
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)
    await engine.dispose()
