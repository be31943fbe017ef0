"""A past for a store: runs that have ended, and instants that did not fire, written as if they had happened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mainspring.domain.execution import Status, Trigger
from mainspring.domain.failure import ErrorClass, Failure
from mainspring.store.analytics import rollups
from mainspring.store.tables import attempts, execution_logs, executions, rollup_marks, ticks
from mainspring.world import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from random import Random  # noqa: TID251 - from a seed
    from uuid import UUID

    from mainspring import Mainspring
    from mainspring.domain.firing_policy import TickOutcome, TickReason

_ROWS_A_STATEMENT: Final = 5_000
_RANDOM_BITS: Final = 74
_TRACE: Final = """Traceback (most recent call last):
  File "/app/mainspring/runtime/local_executor.py", line 110, in _call
    return await _settled(job.handler.function(**arguments))
  File "/app/shop/jobs/{module}.py", line {line}, in {module}
    await client.send(batch)
  File "/app/shop/clients.py", line 41, in send
    raise {type}({message!r})
{type}: {message}
"""


def failure(
    kind: str, message: str, *, module: str = "mail", line: int = 88, fingerprint: str | None = None
) -> Failure:
    """Return an error as a handler of an application leaves it."""
    return Failure(
        error_class=ErrorClass.TRANSIENT,
        type=kind,
        code="UNEXPECTED_ERROR",
        message=message,
        trace=_TRACE.format(module=module, line=line, type=kind, message=message),
        fingerprint=hashlib.sha256(f"{kind} {module}".encode()).hexdigest()[:16],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """A run that has ended.

    Attributes:
        ago: How long ago it started.
        waited: How long it had waited before.
        lasted: How long it took.
        lines: What it logged, as (level, message) or (level, message, fields).
        earlier: Errors of the attempts before the last.
    """

    job: str
    ago: timedelta
    lasted: timedelta
    status: Status = Status.SUCCEEDED
    waited: timedelta = timedelta(milliseconds=40)
    trigger: str = Trigger.CRON
    user: str | None = None
    queue: str = "default"
    payload: object = None
    result: object = None
    error: Failure | None = None
    summary: str | None = None
    skip_reason: str | None = None
    items: int = 0
    items_failed: int = 0
    tags: Sequence[str] = ()
    lines: Sequence[tuple[str, str]] = ()
    earlier: Sequence[Failure] = ()
    organization: str | None = None


@dataclass(slots=True)
class Past:
    """Writes the past of an application that is connected.

    Args:
        app: It.
        chance: Ids, so that the same store comes out of the same seed.
        node: Which node carried it all out.
    """

    app: Mainspring
    chance: Random
    node: UUID

    async def happens(self, runs: Iterable[PastRun]) -> list[UUID]:
        """Write runs that have ended, and return their ids."""
        now = self.app.world.now()
        written: list[UUID] = []
        for batch in _batches(runs):
            rows = [self._row(run, now) for run in batch]
            written += [row["id"] for row in rows]
            logs = [line for run, row in zip(batch, rows, strict=True) for line in _log_lines(run, row)]
            tries = [one for run, row in zip(batch, rows, strict=True) for one in _earlier_attempts(run, row)]

            def write(
                connection: sa.Connection,
                rows: list[dict[str, Any]] = rows,
                logs: list[dict[str, Any]] = logs,
                tries: list[dict[str, Any]] = tries,
            ) -> None:
                for table, values in ((executions, rows), (execution_logs, logs), (attempts, tries)):
                    if values:
                        connection.execute(sa.insert(table), values)

            await self.app.opened.database.tx(write)
        await self._roll_up_anew()
        return written

    async def _roll_up_anew(self) -> None:
        """Let roll-ups know this past, too: they were final before it was written."""
        environment, database = self.app.settings.environment, self.app.opened.database
        of_environment = rollup_marks.c.environment == environment
        await database.tx(lambda connection: connection.execute(sa.delete(rollup_marks).where(of_environment)))
        while (await database.tx(lambda connection: rollups.roll(connection, environment))).more:
            pass

    async def does_not_fire(
        self, schedule: str, instants: Sequence[datetime], outcome: TickOutcome, reason: TickReason
    ) -> None:
        """Write what became of instants at which a schedule did not fire."""
        rows = [
            {
                "environment": self.app.settings.environment,
                "schedule_name": schedule,
                "scheduled_for": instant,
                "outcome": outcome,
                "reason": reason,
                "node_id": self.node,
                "recorded_at": instant + timedelta(milliseconds=80),
            }
            for instant in instants
        ]
        await self.app.opened.database.tx(lambda connection: connection.execute(sa.insert(ticks), rows))

    def _row(self, run: PastRun, now: datetime) -> dict[str, Any]:
        started = now - run.ago
        created, completed = started - run.waited, started + run.lasted
        ran = run.status is not Status.SKIPPED
        return {
            "id": uuid7(int(created.timestamp() * 1000), self.chance.getrandbits(_RANDOM_BITS)),
            "environment": self.app.settings.environment,
            "queue": run.queue,
            "job_name": run.job,
            "organization_id": run.organization,
            "user_id": run.user,
            "payload": _json(run.payload),
            "trigger": run.trigger,
            "scheduled_for": created.replace(microsecond=0) if run.trigger == Trigger.CRON else None,
            "created_at": created,
            "attempt": len(run.earlier) + 1 if ran else 0,
            "retry_count": len(run.earlier),
            "max_retries": max(3, len(run.earlier)),
            "fence": len(run.earlier) + 1,
            "node_id": self.node if ran else None,
            "started_at": started if ran else None,
            "completed_at": completed,
            "updated_at": completed,
            "progress": 100 if run.status is Status.SUCCEEDED else 40,
            "items_processed": run.items,
            "items_succeeded": run.items - run.items_failed,
            "items_failed": run.items_failed,
            "search_terms": [f"tag:{tag}" for tag in run.tags] or None,
            "status": run.status,
            "outcome": None if not ran else run.status,
            "duration_ms": int(run.lasted.total_seconds() * 1000) if ran else None,
            "result": _json(run.result),
            "summary": run.summary,
            "skip_reason": run.skip_reason,
            "error": _json(run.error and run.error.as_json()),
            "error_message": run.error and run.error.message,
            "error_class": run.error and run.error.error_class,
            "error_fingerprint": run.error and run.error.fingerprint,
        }


def _batches(runs: Iterable[PastRun]) -> Iterable[list[PastRun]]:
    batch: list[PastRun] = []
    for run in runs:
        batch.append(run)
        if len(batch) == _ROWS_A_STATEMENT:
            yield batch
            batch = []
    if batch:
        yield batch


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def _log_lines(run: PastRun, row: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for number, (level, message) in enumerate(run.lines):
        yield {
            "execution_id": row["id"],
            "attempt": row["attempt"],
            "at": row["completed_at"] - run.lasted + number * run.lasted / len(run.lines),
            "level": level,
            "message": message,
            "fields": None,
        }


def _earlier_attempts(run: PastRun, row: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for number, error in enumerate(run.earlier, start=1):
        ended = row["completed_at"] - run.lasted - timedelta(seconds=20) * (len(run.earlier) - number + 1)
        yield {
            "execution_id": row["id"],
            "fence": number,
            "number": number,
            "node_id": row["node_id"],
            "started_at": ended - timedelta(seconds=3),
            "completed_at": ended,
            "outcome": "failed",
            "error": _json(error.as_json()),
        }
