"""Runs that have ended, written as history keeps them, so that pages have something to show."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mainspring.store.tables import executions

if TYPE_CHECKING:
    from uuid import UUID

    from tests.web.conftest import Site


async def ended(site: Site, status: str = "succeeded", *, ago: timedelta = timedelta(minutes=5), **fields: Any) -> UUID:
    """Write a run that has ended, and return its id."""
    app = site.app
    at, run_id = app.world.now() - ago, app.world.new_id()
    row: dict[str, Any] = {
        "id": run_id,
        "environment": app.settings.environment,
        "job_name": "digest",
        "queue": "default",
        "trigger": "cron",
        "status": status,
        "outcome": status,
        "attempt": 1,
        "duration_ms": 1_500,
        "created_at": at - timedelta(seconds=2),
        "started_at": at - timedelta(seconds=1.5),
        "completed_at": at,
        "updated_at": at,
    }
    await app.opened.database.tx(lambda connection: connection.execute(sa.insert(executions).values(row | fields)))
    return run_id
