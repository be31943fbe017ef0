"""Mainspring on SQLite (`synchronous=FULL`)."""

from __future__ import annotations

import os
import sqlite3

from adapters.base import HOME, main  # pyright: ignore[reportMissingImports]

os.environ["BENCH_MAINSPRING_URL"] = f"sqlite:///{HOME}/mainspring.db"

from adapters import mainspring_pg  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]


class A(mainspring_pg.A):
    """The same on a file."""

    backend = "sqlite"

    def remaining(self) -> int:
        """Return how many are left to complete."""
        with sqlite3.connect(HOME / "mainspring.db") as connection:
            return connection.execute("select count(*) from mainspring_executions_live").fetchone()[0]


if __name__ == "__main__":
    main(A)
