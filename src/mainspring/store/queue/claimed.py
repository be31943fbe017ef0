"""What an attempt needs to know of the row that was claimed for it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Trigger

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


@dataclass(slots=True)
class ClaimedExecution:
    """An execution that a node has claimed.

    Its fields are the columns that a claim returns, in this order.
    """

    id: UUID
    job_name: str
    queue: str
    organization_id: str | None
    user_id: str | None
    attempt: int
    fence: int
    retry_count: int
    lost_count: int
    max_retries: int
    payload: str | None
    priority: int
    trigger: Trigger
    created_at: datetime
    available_at: datetime
    scheduled_at: datetime | None
    scheduled_for: datetime | None
    limit_key: str | None
    isolate: bool
    checkpoint: str | None
    trace_context: str | None

    def __post_init__(self) -> None:
        """Take the trigger's stored word."""
        self.trigger = _TRIGGERS[self.trigger]

    @property
    def wanted_since(self) -> datetime:
        """When it was first to begin: the end of a delay that was asked for, else when it was accepted."""
        return self.created_at if self.scheduled_at is None else max(self.created_at, self.scheduled_at)


_TRIGGERS: Final = {trigger.value: trigger for trigger in Trigger}
COLUMNS: Final = tuple(column.name for column in fields(ClaimedExecution))
