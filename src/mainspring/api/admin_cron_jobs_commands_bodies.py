"""What is sent to change a job at `/admin/cron-jobs/{jobName}`, and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.api_jobs_bodies import Reason
from mainspring.api.instants import GivenInstant

_A_YEAR: Final = 366 * 86_400.0

Seconds = Annotated[float, Field(ge=0, le=_A_YEAR)]
OwnVersion = Annotated[int | None, Field(ge=0, description="The `version` that you have seen.")]


class _Sent(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class PauseJob(_Sent):
    """Why a job is to fire no more, and until when."""

    reason: Reason = None
    until: GivenInstant | None = Field(default=None, description="When it fires again by itself.")


class ResumeJob(_Sent):
    """Why a job is to fire again."""

    reason: Reason = None


class RetryPatch(_Sent):
    """How often and how soon a failed run is tried again; waits in seconds. What is not sent stays."""

    max_retries: int = Field(default=3, ge=0, le=100)
    base: Seconds = 10.0
    factor: float = Field(default=2.0, ge=1, le=100)
    cap: Seconds = 3600.0
    jitter: float = Field(default=0.2, ge=0, le=1)
    deadline: Seconds | None = None


class ThresholdsPatch(_Sent):
    """The limits whose breach opens an alert; times in seconds. What is not sent stays."""

    staleness: Seconds | None = Field(default=None, description="null: as its schedule and its usual duration say.")
    failure_rate: float = Field(default=0.2, ge=0, le=1)
    execution_time: Seconds | None = Field(default=None, description="null: no limit.")
    consecutive_failures: int = Field(default=3, ge=1, le=10_000)
    recovery: int = Field(default=1, ge=1, le=10_000)
    shortest_time: Seconds | None = None
    runs_per_hour: int | None = Field(default=None, ge=1, le=1_000_000)
    least_items: int | None = Field(default=None, ge=1, le=2**53)
    share_of_usual_items: float | None = Field(default=None, ge=0, le=1)
    anomaly: float | None = Field(default=None, gt=0, le=1_000)
    trend_days: int | None = Field(default=None, ge=1, le=3_650)


class RetentionPatch(_Sent):
    """How many days ended runs are kept, by how they ended, where that is less than `MAINSPRING_RETENTION_DAYS`."""

    succeeded: Annotated[float | None, Field(ge=0, le=36_500)] = None
    failed: Annotated[float | None, Field(ge=0, le=36_500)] = None
    cancelled: Annotated[float | None, Field(ge=0, le=36_500)] = None
    skipped: Annotated[float | None, Field(ge=0, le=36_500)] = None


class PatchJob(_Sent):
    """What is to stand in the place of what code says; null brings back what code says."""

    thresholds: ThresholdsPatch | None = None
    retry: RetryPatch | None = None
    timeout: Annotated[float | None, Field(gt=0, le=_A_YEAR, description="The longest attempt, in seconds.")] = None
    retention: RetentionPatch | None = None
    config: dict[str, Any] | None = Field(default=None, description="Replaces the entries that it names; no secrets.")
    reason: Reason = None
    version: OwnVersion = None

    def changes(self) -> dict[str, Any]:
        """Return the policies that are sent, in the names of `JobDefinition`."""
        sent = self.model_dump(exclude_unset=True)
        return {name: value for name, value in sent.items() if name not in {"reason", "version"}}


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Paused(_Shown):
    """Whether a job fires."""

    job_name: str
    paused: bool
    paused_until: datetime | None
    next_run_at: datetime | None
    version: int = Field(description="Of its schedule.")


class Patched(_Shown):
    """What was changed."""

    job_name: str
    version: int = Field(description="Of the definition: the next change may name it.")
    before: dict[str, Any]
    after: dict[str, Any]


class Started(_Shown):
    """Answers a trigger."""

    execution_id: UUID
    message: str
