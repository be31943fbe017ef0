"""Sees every change of every execution in the simulated store, from triggers of its own, and every handler at work."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.execution import Stage, Status, live_status
from mainspring.testing.inline import finish_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from mainspring.store.engine.database import Connection, Database

_SEEN: Final = (
    "execution_id", "event", "stage", "retrying", "fence", "attempt", "retry_count", "lost_count", "organization_id",
    "in_organization", "limit_key", "in_limit", "limit_max", "status", "outcome",
)  # fmt: skip
_LIVE: Final = """
insert into witnessed (execution_id, event, stage, retrying, fence, attempt, retry_count, lost_count,
    organization_id, in_organization, limit_key, in_limit, limit_max)
values (new.id, '{event}', new.stage, new.retrying, new.fence, new.attempt, new.retry_count, new.lost_count,
    new.organization_id,
    (select count(*) from {live} r where r.environment = new.environment and r.stage = 3
        and r.organization_id = new.organization_id),
    new.limit_key,
    (select count(*) from {live} r where r.environment = new.environment and r.stage = 3
        and r.limit_key = new.limit_key),
    new.limit_max);
"""
_ENDED: Final = """
insert into witnessed (execution_id, event, status, outcome, fence, attempt, retry_count, lost_count)
values (new.id, 'ended', new.status, new.outcome, new.fence, new.attempt, new.retry_count, new.lost_count);
"""
_LEFT: Final = "insert into witnessed (execution_id, event) values (old.id, 'left');"
_REOPENED: Final = "insert into witnessed (execution_id, event, status) values (old.id, 'reopened', old.status);"
_HAS_CHANGED: Final = "old.stage <> new.stage or old.fence <> new.fence or old.retrying <> new.retrying"
_TRIGGERS: Final = (
    f"accepted after insert on {{live}} begin {_LIVE.replace('{event}', 'accepted')} end",
    f"changed after update on {{live}} when {_HAS_CHANGED} begin {_LIVE.replace('{event}', 'changed')} end",
    f"left after delete on {{live}} begin {_LEFT} end",
    f"ended after insert on {{history}} begin {_ENDED} end",
    f"reopened after delete on {{history}} begin {_REOPENED} end",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one execution.

    Attributes:
        event: `accepted` (also again, by a manual retry), `changed`, `ended`, `left` (the live rows) or `reopened`.
        in_organization: Running executions of its organization after the change; `in_limit` those of its limit key.
    """

    execution_id: str
    event: str
    stage: int | None
    retrying: int | None
    fence: int | None
    attempt: int | None
    retry_count: int | None
    lost_count: int | None
    organization_id: str | None
    in_organization: int | None
    limit_key: str | None
    in_limit: int | None
    limit_max: int | None
    status: str | None
    outcome: str | None

    @property
    def present_status(self) -> Status | None:
        """The public status after the change, if it tells one."""
        if self.event == "ended":
            return Status(self.status)
        if self.stage is not None:
            return live_status(Stage(self.stage), retrying=bool(self.retrying))
        return None

    @property
    def is_claim(self) -> bool:
        """Whether a node has taken it."""
        return self.event == "changed" and self.stage == Stage.RUNNING


@dataclass(slots=True)
class Shift:
    """One run of one handler.

    Attributes:
        ended_at: When it ended, by itself or because it was stopped; None while it runs.
        completed: Whether it returned.
        obedient: Whether it ends when it is told to; one that does not may still run when another node starts again.
    """

    execution_id: UUID
    fence: int
    node: str
    started_at: float
    ended_at: float | None = None
    completed: bool = False
    obedient: bool = True


class Trace:
    """A digest of everything that happened, in order; two runs of one seed have the same.

    Args:
        keep: Whether the lines are kept, to find where two runs part.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._kept: list[str] | None = [] if keep else None
        self.length = 0

    def add(self, line: str) -> None:
        """Add one event."""
        self.length += 1
        self._digest.update(line.encode(errors="backslashreplace"))
        self._digest.update(b"\n")
        if self._kept is not None:
            self._kept.append(line)

    @property
    def lines(self) -> list[str]:
        """The events, if they are kept."""
        return self._kept or []

    @property
    def digest(self) -> str:
        """Thirty-two hexadecimal digits."""
        return self._digest.hexdigest()


_ENTERS_A_NODE: Final = re.compile(r"^insert into \S*nodes\b", re.IGNORECASE)


class Witness:
    """What the invariants are judged by.

    Args:
        store: The shared store, open and empty.
        clock: Returns the virtual seconds since the simulation began.
        trace: Where every statement and every handler is added.
    """

    def __init__(self, store: Database, clock: Callable[[], float], trace: Trace) -> None:
        self._store = store
        self._clock = clock
        self.trace = trace
        self.shifts: list[Shift] = []
        self.troubles: list[str] = []
        self._read(self._watch)

    def _watch(self, connection: Connection) -> None:
        names = {"live": f"{self._store.schema}_executions_live", "history": f"{self._store.schema}_executions"}
        # Temporary, so that they belong to the connection: the store itself knows nothing of its witness.
        connection.exec_driver_sql(f"create temp table witnessed (number integer primary key, {', '.join(_SEEN)})")
        for trigger in _TRIGGERS:
            connection.exec_driver_sql(f"create temp trigger witness_{trigger.format(**names)}")
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(self._hear)

    def _hear(self, statement: str) -> None:
        # The entry of a node holds the pid and the host, which are the machine's.
        told = "a node enters" if _ENTERS_A_NODE.match(statement) else statement
        self.trace.add(f"{self._clock():.9f} {told}")

    def _read(self, work: Callable[[Connection], Any]) -> Any:  # noqa: ANN401 - whatever `work` returns
        return finish_at_once(self._store.tx(work))

    def handler_started(self, execution_id: UUID, fence: int, node: str) -> Shift:
        """Note that a handler begins."""
        shift = Shift(execution_id, fence, node, self._clock())
        self.shifts.append(shift)
        self.trace.add(f"{shift.started_at:.9f} {node} runs {execution_id} under fence {fence}")
        return shift

    def handler_ended(self, shift: Shift, *, completed: bool) -> None:
        """Note that it has ended: by itself, or because it was stopped."""
        shift.ended_at = self._clock()
        shift.completed = completed
        self.trace.add(f"{shift.ended_at:.9f} {shift.node} leaves {shift.execution_id}, completed: {completed}")

    def trouble(self, told: str) -> None:
        """Note what must never happen."""
        self.troubles.append(told)

    def changes(self) -> Iterable[Change]:
        """Return every change of every execution, in order."""

        def select(connection: Connection) -> list[Change]:
            rows = connection.exec_driver_sql(f"select {', '.join(_SEEN)} from temp.witnessed order by number")  # noqa: S608
            return [Change(*row) for row in rows.all()]

        return self._read(select)

    def live_count(self) -> int:
        """Return how many executions have not ended."""
        table = f"{self._store.schema}_executions_live"
        return self._read(lambda connection: connection.exec_driver_sql(f"select count(*) from {table}").scalar_one())  # noqa: S608
