"""The collection that all tables register in.

The schema is called `mainspring` here; `store.dialect.qualify` turns it into the schema of the settings on PostgreSQL
and into a prefix on SQLite, which has no schemas.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

SCHEMA: Final = "mainspring"

metadata = sa.MetaData(schema=SCHEMA, naming_convention={"pk": "%(table_name)s_pkey"})
