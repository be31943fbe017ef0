"""huey on SQLite."""

from __future__ import annotations

import os

os.environ["HUEY_ON_SQLITE"] = "1"

from adapters.base import main
from adapters.huey import OnSqlite

if __name__ == "__main__":
    main(OnSqlite)
