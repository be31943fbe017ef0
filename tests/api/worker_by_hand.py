"""A worker that does what a test tells it, statement by statement: nothing runs by itself, nothing is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mainspring.domain.execution import Outcome, Progress, Status
from mainspring.domain.write_door import json_text
from mainspring.store.queue import claims, finishes, progress_reports
from mainspring.store.runs import run_logs

if TYPE_CHECKING:
    from mainspring.store.engine.database import Connection
    from mainspring.store.queue.claims import ClaimedExecution
    from tests.api.conftest import Door


@dataclass(slots=True)
class WorkerByHand:
    """A worker of the served application, in the place of a node."""

    door: Door
    cursor: claims.QueueCursor = field(default_factory=lambda: claims.QueueCursor("default"))

    async def start(self, job_id: str) -> ClaimedExecution:
        """Claim one execution, as a node that has just started."""
        request = claims.ClaimRequest(
            environment="dev",
            node_id=self.door.app.world.new_id(),
            names=self.door.app.registry.names(),
            cursors=[self.cursor],
            organization_limit=5,
        )
        claimed = await self.door.services.database.tx(lambda connection: claims.claim(connection, request, 1))
        assert [item.id for item in claimed] == [UUID(job_id)]
        return claimed[0]

    async def say(
        self, claimed: ClaimedExecution, *messages: str, level: str = "info", percent: int | None = None, **fields: Any
    ) -> None:
        """Write log lines, and how far the work has come."""
        at = self.door.app.world.now()
        told = json_text(fields) if fields else None
        lines = [
            run_logs.WrittenLine(claimed.id, claimed.fence, claimed.attempt, at, level, message, told)
            for message in messages
        ]
        reports = (
            [] if percent is None else [progress_reports.Report(claimed.id, claimed.fence, Progress(percent=percent))]
        )

        def write(connection: Connection) -> None:
            progress_reports.write(connection, reports=reports)
            run_logs.write(connection, lines)

        await self.door.services.database.tx(write)

    async def end(self, claimed: ClaimedExecution, status: Status = Status.SUCCEEDED, **said: Any) -> None:
        """Write how the work has ended."""
        finish = finishes.Finish(
            id=claimed.id,
            fence=claimed.fence,
            job_name=claimed.job_name,
            status=status,
            outcome=Outcome(status),
            duration_ms=1,
            limit_key=claimed.limit_key,
            **said,
        )
        assert await self.door.services.database.tx(lambda connection: finishes.finish(connection, "dev", [finish]))
