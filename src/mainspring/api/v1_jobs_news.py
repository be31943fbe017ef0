"""What has happened to a job since a client last heard of it, as events."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mainspring.api.event_stream import Event
from mainspring.api.v1_jobs_bodies import status_json
from mainspring.api.v1_jobs_history_bodies import log_line_json
from mainspring.api.v1_jobs_lookup import sensitive_fields, visible_job_with
from mainspring.domain.job_object import shown_status
from mainspring.store.runs import run_logs
from mainspring.store.tables.types import to_microseconds

if TYPE_CHECKING:
    from mainspring.api.services import Services
    from mainspring.domain.access import Actor
    from mainspring.domain.execution import Execution, Progress

MOST_AT_ONCE: Final = 100
_FORM: Final = re.compile(r"(\d{1,18})-(\d{1,18})(-end)?")


@dataclass(frozen=True, slots=True)
class Place:
    """How much of a job a client has heard: the id of an event, which every node can read.

    Attributes:
        updated: When the facts that it knows were written: microseconds since 1970 by the store's clock.
        line: The id of the last log line that it has.
        ended: Whether it knows that these facts are the last ones.

    Example:
        >>> str(Place.of("1706610600000000-42")), str(Place.of("something else"))
        ('1706610600000000-42', '0-0')
    """

    updated: int = 0
    line: int = 0
    ended: bool = False

    @classmethod
    def of(cls, last_event_id: str | None) -> Place:
        """Return the place that a client names; the beginning, if it names none of ours."""
        found = _FORM.fullmatch(last_event_id or "")
        return cls() if found is None else cls(int(found[1]), int(found[2]), found[3] is not None)

    def is_end_of(self, execution: Execution) -> bool:
        """Whether who stands here has heard all there is: the job has ended, and was not retried since."""
        return self.ended and execution.status.is_final and self.updated == to_microseconds(execution.updated_at)

    def __str__(self) -> str:
        """Return the id of the event that ends here."""
        return f"{self.updated}-{self.line}{'-end' if self.ended else ''}"


class JobNews:
    """What one client is told of one job, portion by portion.

    Args:
        services: With the store.
        actor: Who is told: the job is looked up in its scope each time.
        job_id: The job.
        place: What the client has heard already.

    Attributes:
        has_more: Whether the next portion is there already.
        has_ended: Whether there will never be another one.
    """

    def __init__(self, services: Services, actor: Actor, job_id: str, place: Place) -> None:
        self._services = services
        self._actor = actor
        self._job_id = job_id
        self._place = place
        self._told: tuple[object, ...] | None = None
        self._told_progress: Progress | None = None
        self.has_more = False
        self.has_ended = False

    async def read(self) -> list[Event]:
        """Return the next portion: log lines in their order, then what has become of the job.

        Raises:
            ExecutionNotFoundError: The job is no longer there for this actor.
            StoreError: The store does not answer.
        """
        execution, lines = await visible_job_with(
            self._services,
            self._actor,
            self._job_id,
            lambda connection, execution: run_logs.lines_of(
                connection, execution.id, after=self._place.line, most=MOST_AT_ONCE
            ),
        )
        events = [self._event("log", log_line_json(line), replace(self._place, line=line.id)) for line in lines]
        self.has_more = len(lines) == MOST_AT_ONCE
        return events if self.has_more else events + self._facts(execution)

    def _facts(self, execution: Execution) -> list[Event]:
        events: list[Event] = []
        updated = to_microseconds(execution.updated_at)
        facts = _facts_beside_progress(execution)
        if updated != self._place.updated:
            place = replace(self._place, updated=max(updated, self._place.updated), ended=False)
            if facts != self._told:
                shown = status_json(execution, sensitive=sensitive_fields(self._services, execution))
                events.append(self._event("status", shown, place))
            elif execution.progress != self._told_progress:
                events.append(self._event("progress", _progress_json(execution.progress), place))
        self._told, self._told_progress = facts, execution.progress
        if execution.status.is_final:
            self.has_ended = True
            events.append(
                self._event("end", {"status": shown_status(execution.status)}, replace(self._place, ended=True))
            )
        return events

    def _event(self, name: str, data: dict[str, Any], place: Place) -> Event:
        self._place = place
        return Event(name, data, str(place))


def _facts_beside_progress(execution: Execution) -> tuple[object, ...]:
    # Few and small, in the place of the job itself: an open stream must not hold a payload of 256 kB.
    return (execution.status, execution.attempt, execution.retry_count, execution.cancel_requested)


def _progress_json(progress: Progress) -> dict[str, Any]:
    return {
        "progress": progress.percent,
        "currentStep": progress.current_step,
        "totalSteps": progress.total_steps,
        "message": progress.message,
        "itemsProcessed": progress.items_processed,
        "itemsSucceeded": progress.items_succeeded,
        "itemsFailed": progress.items_failed,
    }
