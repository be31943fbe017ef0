"""Runs migrations on the connection that `store.schema` hands to Alembic, inside the transaction that it has begun."""

from __future__ import annotations

from alembic import context

from mainspring.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    version_table_schema=context.config.attributes["version_table_schema"],
)
context.run_migrations()
