"""The bodies of `/admin/cron-jobs/stats` and `/reports`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from mainspring.domain.job_trend import Trend
    from mainspring.store.analytics.failure_report import Deployment, FailureKind
    from mainspring.store.analytics.statistics import Figures


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class FiguresView(_Shown):
    """How runs went; percentiles are within 5 %."""

    key: str
    total: int
    succeeded: int
    failed: int
    cancelled: int
    skipped: int
    success_rate: float | None = Field(description="Of those that ended of themselves, 0 to 1.")
    average_duration_ms: int | None
    p50_duration_ms: int | None
    p95_duration_ms: int | None
    p99_duration_ms: int | None
    max_duration_ms: int | None
    average_waiting_ms: int | None = Field(description="From when they were to start to when their last attempt began.")
    p50_waiting_ms: int | None
    p95_waiting_ms: int | None
    items_processed: int
    items_failed: int


FIGURES: Final = tuple(to_camel(name) for name in FiguresView.model_fields)


class Statistics(_Shown):
    """Figures of what ended within a span, at most a few seconds late."""

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    by: Literal["job", "group", "queue", "period"]
    totals: FiguresView
    rows: list[FiguresView]


class PerformanceView(FiguresView):
    """How the runs of one job went, beside the span before of the same length."""

    earlier_success_rate: float | None
    earlier_p95_duration_ms: int | None
    p95_change: float | None = Field(description="0.5: half as long again as before; null: it did not run before.")


PERFORMANCE: Final = tuple(to_camel(name) for name in PerformanceView.model_fields)


class PerformanceReport(_Shown):
    """How each job performed, the slowest first."""

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    jobs: list[PerformanceView]


class FailureView(_Shown):
    """The failures of one job with one error."""

    job_name: str
    fingerprint: str | None
    error_class: str | None
    message: str
    count: int
    share: float = Field(description="Of all failures of the report, 0 to 1.")
    first_seen: datetime = Field(description="In the span or before.")
    last_seen: datetime
    last_execution_id: UUID
    by_code_version: dict[str, int] = Field(description="The empty text: the application had no version.")
    before_deployment: int | None = Field(description="How many ended before the latest deployment.")
    after_deployment: int | None
    verdict: Literal["new", "gone", "known", "unknown"] = Field(
        description="`new`: first seen after the latest deployment; `gone`: not seen since; `unknown`: none is known."
    )


FAILURES: Final = tuple(to_camel(name) for name in FailureView.model_fields)


class DeploymentView(_Shown):
    """A version of the application, and when the first node of it started."""

    code_version: str
    at: datetime


class FailureReport(_Shown):
    """What failed, the most frequent error first."""

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    failures: list[FailureView]
    deployments: list[DeploymentView]


class TrendView(_Shown):
    """How one figure changes."""

    per_day: float | None = Field(description="null: there are fewer than ten days to tell it from.")
    direction: Literal["rising", "falling", "steady", "unknown"]
    reaches_limit_in_days: int | None


class JobTrendView(_Shown):
    """Where a job is heading."""

    job_name: str
    days: int = Field(description="On so many days it ran.")
    p95_duration_ms: TrendView = Field(description="Its limit is the timeout of the job.")
    failure_rate: TrendView
    items_processed: TrendView
    runs: TrendView


class TrendReport(_Shown):
    """Where jobs are heading, by daily figures (Theil-Sen line)."""

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    jobs: list[JobTrendView]


def figures_json(figures: Figures) -> dict[str, Any]:
    """Return figures as `FiguresView` describes them."""
    counts = figures.counts
    return {
        "key": figures.key,
        "total": figures.total,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "skipped": counts.skipped,
        "successRate": figures.success_rate,
        "averageDurationMs": figures.average_duration_ms,
        "p50DurationMs": counts.durations.percentile(0.5),
        "p95DurationMs": counts.durations.percentile(0.95),
        "p99DurationMs": counts.durations.percentile(0.99),
        "maxDurationMs": counts.duration_max_ms if figures.ran else None,
        "averageWaitingMs": figures.average_waiting_ms,
        "p50WaitingMs": counts.waits.percentile(0.5),
        "p95WaitingMs": counts.waits.percentile(0.95),
        "itemsProcessed": counts.items_processed,
        "itemsFailed": counts.items_failed,
    }


def performance_json(figures: Figures, earlier: Figures | None) -> dict[str, Any]:
    """Return figures as `PerformanceView` describes them."""
    before = None if earlier is None else earlier.counts.durations.percentile(0.95)
    now = figures.counts.durations.percentile(0.95)
    return {
        **figures_json(figures),
        "earlierSuccessRate": None if earlier is None else earlier.success_rate,
        "earlierP95DurationMs": before,
        "p95Change": None if not before or now is None else round(now / before - 1, 4),
    }


def failure_json(kind: FailureKind, share: float, deployment: Deployment | None) -> dict[str, Any]:
    """Return a kind of failure as `FailureView` describes it."""
    before, after = (None, None) if deployment is None else kind.before_and_after(deployment)
    return {
        "jobName": kind.job_name,
        "fingerprint": kind.fingerprint,
        "errorClass": kind.error_class,
        "message": kind.message,
        "count": kind.count,
        "share": round(share, 4),
        "firstSeen": instant_text(kind.first_seen),
        "lastSeen": instant_text(kind.last_seen),
        "lastExecutionId": str(kind.last_id),
        "byCodeVersion": kind.by_version,
        "beforeDeployment": before,
        "afterDeployment": after,
        "verdict": _verdict(kind, deployment),
    }


def trend_json(trend: Trend) -> dict[str, Any]:
    """Return a trend as `TrendView` describes it."""
    return {
        "perDay": trend.per_day,
        "direction": trend.direction,
        "reachesLimitInDays": trend.reaches_limit_in_days,
    }


def _verdict(kind: FailureKind, deployment: Deployment | None) -> str:
    if deployment is None:
        return "unknown"
    if kind.first_seen >= deployment.at:
        return "new"
    return "gone" if kind.last_seen < deployment.at else "known"
