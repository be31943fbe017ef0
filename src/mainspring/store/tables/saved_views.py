"""Views of lists that people have saved under a name."""

from __future__ import annotations

import sqlalchemy as sa

from mainspring.store.tables.metadata import metadata
from mainspring.store.tables.types import Instant

saved_views = sa.Table(
    "saved_views",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
)
"""What a person has saved of the list of runs: `address` is its query, such as `q=status%3Afailed`."""
