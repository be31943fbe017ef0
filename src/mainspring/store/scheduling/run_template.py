"""What a definition, as the store keeps it, says about the runs of its schedule: any node can fire any job."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.domain.firing_policy import FiringPolicy
from mainspring.domain.job import Misfire, OnLost, Overlap
from mainspring.domain.rate import Rate
from mainspring.domain.retry import NO_RETRY
from mainspring.observability.tracing import traceparent_of_request
from mainspring.store.queue.enqueues import NewExecution

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from mainspring.domain.execution import Trigger

_CACHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class RunTemplate:
    """What every run that a schedule starts has in common.

    Attributes:
        firing: What is done about instants that it cannot simply fire at.
        jitter: By how much later than its instant a run may start, spread by name.
        pause_after: Failures in a row after which the schedule is paused.
    """

    job_name: str
    queue: str
    payload: str | None = None
    max_retries: int = 0
    limit_key: str | None = None
    limit_max: int | None = None
    rate: Rate | None = None
    fail_when_lost: bool = False
    firing: FiringPolicy = field(default_factory=FiringPolicy)
    jitter: timedelta = timedelta(0)
    pause_after: int | None = None

    def execution(
        self,
        execution_id: UUID,
        environment: str,
        trigger: Trigger,
        *,
        scheduled_for: datetime | None = None,
        run_at: datetime | None = None,
    ) -> NewExecution:
        """Return the request for a run.

        Args:
            execution_id: Its id.
            environment: Its environment.
            trigger: Why it is made.
            scheduled_for: The instant of the schedule that it is for.
            run_at: Not before this instant.
        """
        return NewExecution(
            id=execution_id,
            environment=environment,
            queue=self.queue,
            job_name=self.job_name,
            trigger=trigger,
            payload=self.payload,
            max_retries=self.max_retries,
            run_at=run_at,
            scheduled_for=scheduled_for,
            limit_key=self.limit_key,
            limit_max=self.limit_max,
            rate=self.rate,
            trace_context=traceparent_of_request(self.job_name, trigger.value, execution=str(execution_id)),
            fail_when_lost=self.fail_when_lost,
        )


@lru_cache(_CACHED)
def run_template(job_name: str, queue: str, code: str, override: str | None) -> RunTemplate:
    """Return what a definition says; what admins changed beside the code wins.

    Args:
        job_name: The job.
        queue: Its queue.
        code: The column `code` of `definitions`.
        override: The column `override` of `definitions`.
    """
    said: dict[str, Any] = orjson.loads(code) | orjson.loads(override or "{}")
    payload = said["schedule_payload"]
    return RunTemplate(
        job_name=job_name,
        queue=queue,
        payload=None if payload is None else orjson.dumps(payload).decode(),
        max_retries=said["retry"]["max_retries"] if said["retry"] else NO_RETRY.max_retries,
        limit_key=_limit_key(job_name, said),
        limit_max=said["running_limit"],
        rate=Rate.parse(said["rate_limit"]) if said["rate_limit"] else None,
        fail_when_lost=OnLost(said["on_lost"]) is OnLost.FAIL,
        firing=FiringPolicy(
            misfire=Misfire(said["misfire"]),
            catch_up=timedelta(seconds=said["catch_up"]),
            catch_up_limit=said["catch_up_limit"],
            overlap=Overlap(said["overlap"]),
            starts_at=_instant(said["starts_at"]),
            ends_at=_instant(said["ends_at"]),
            external=said.get("external", False),
        ),
        jitter=timedelta(seconds=said["jitter"]),
        pause_after=said["pause_after"],
    )


def _limit_key(job_name: str, said: Mapping[str, Any]) -> str | None:
    if said["running_limit"] is None and said["rate_limit"] is None and said.get("breaker") is None:
        return None
    key = said["concurrency_key"]
    return job_name if key is None else f"{job_name}:{key}"


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
