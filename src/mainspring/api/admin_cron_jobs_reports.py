"""`/admin/cron-jobs/stats` and `/reports`: how jobs went, why they failed, where they are heading; JSON or CSV."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from mainspring.api.admin_cron_jobs_paths import CRON_JOBS_PATH, STORABLE, Reader
from mainspring.api.admin_cron_jobs_reports_bodies import (
    FAILURES,
    FIGURES,
    PERFORMANCE,
    FailureReport,
    PerformanceReport,
    Statistics,
    TrendReport,
    failure_json,
    figures_json,
    performance_json,
    trend_json,
)
from mainspring.api.csv_answer import Format, csv_response
from mainspring.api.faults import Fault
from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import InvalidRequestError, documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices, Services
from mainspring.domain.instants import instant_text
from mainspring.domain.job_trend import trend_of
from mainspring.store.analytics import failure_report, rollup_rows, statistics
from mainspring.store.analytics.rollup_rows import Rollup, Span
from mainspring.store.analytics.statistics import By, Figures
from mainspring.store.engine import state_versions
from mainspring.store.jobs import definitions
from mainspring.store.jobs.stored_policy import timeout_of
from mainspring.store.runs import cron_runs
from mainspring.store.runs.cron_runs import WantedNames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.store.engine.database import Connection

router = APIRouter(prefix=CRON_JOBS_PATH, tags=["Cron jobs"], dependencies=[only_known_parameters])

_CSV: Final[dict[str, Any]] = {"text/csv": {"schema": {"type": "string"}}}
_LONGEST: Final = timedelta(days=366)
_BUCKET: Final = timedelta(minutes=5)
_MOST_KINDS: Final = 100
_FIGURES_OF_A_TREND: Final = ("p95DurationMs", "failureRate", "itemsProcessed", "runs")

OfJob = Annotated[str | None, Query(alias="jobName", max_length=200, pattern=STORABLE)]
OfGroup = Annotated[str | None, Query(alias="jobGroup", max_length=200, pattern=STORABLE)]


@dataclass(frozen=True, slots=True)
class Question:
    """What every report is asked for."""

    start: Annotated[GivenInstant | None, Query(alias="from")] = None
    end: Annotated[GivenInstant | None, Query(alias="to", description="Before this instant; by default now.")] = None
    job_name: OfJob = None
    job_group: OfGroup = None
    every: Annotated[bool, Query(alias="all", description="Also jobs that have neither a schedule nor a service.")] = (
        False
    )
    format: Format = "json"

    @property
    def names(self) -> WantedNames:
        """Return whose runs count."""
        return WantedNames(name=self.job_name, group=self.job_group, all=self.every)

    def span(self, services: Services, usual: timedelta) -> Span:
        """Return the span that is asked for.

        Args:
            services: With the clock.
            usual: How long it is where nobody says when it begins.

        Raises:
            InvalidRequestError: It is empty, or longer than a year.
        """
        last = self.end or services.app.world.now().astimezone(UTC)
        first = self.start or last - usual
        if not timedelta(0) < last - first <= _LONGEST:
            fault = "the span is empty, or longer than a year: give an earlier or a later `from`"
            raise InvalidRequestError([Fault("from", fault)])
        return first, last

    def about(self, span: Span) -> list[Any]:
        """Return what an answer from roll-ups depends on: their buckets begin every five minutes."""
        first, last = (statistics.floor(at, _BUCKET) for at in (span[0], span[1] - timedelta.resolution))
        return [first, last, self.job_name, self.job_group, self.every]


Asked = Annotated[Question, Depends()]


@router.get(
    "/stats", response_class=Response, responses={200: {"model": Statistics, "content": _CSV}, **documented(422)}
)
async def get_cron_statistics(
    *,
    services: CurrentServices,
    _actor: Reader,
    asked: Asked,
    by: By = By.JOB,
) -> Response:
    """Return success rates, counts, durations, waiting and items, by job, group, queue or period."""
    span = asked.span(services, timedelta(days=1))
    environment = services.app.settings.environment

    def read(connection: Connection) -> dict[str, Any]:
        names = cron_runs.names_of(connection, environment, asked.names)
        totals, parts = statistics.read(connection, environment, span, by, names)
        return {"totals": figures_json(totals), "rows": [figures_json(part) for part in parts]}

    found = await services.answers.of(["stats", by.value, *asked.about(span)], state_versions.of_figures, read)
    if asked.format == "csv":
        return csv_response(f"statistics-by-{by}", found["rows"], FIGURES)
    return json_response({**_span_json(span), "by": by.value, **found})


@router.get(
    "/reports/performance",
    response_class=Response,
    responses={200: {"model": PerformanceReport, "content": _CSV}, **documented(422)},
)
async def report_performance(
    *,
    services: CurrentServices,
    _actor: Reader,
    asked: Asked,
) -> Response:
    """Report how each job performed, the slowest first, beside the span before of the same length."""
    span = asked.span(services, timedelta(days=7))
    before = (statistics.floor(span[0] - (span[1] - span[0]), _BUCKET), statistics.floor(span[0], _BUCKET))
    environment = services.app.settings.environment

    def read(connection: Connection) -> dict[str, Any]:
        names = cron_runs.names_of(connection, environment, asked.names)
        _, now = statistics.read(connection, environment, span, By.JOB, names)
        _, then = statistics.read(connection, environment, before, By.JOB, names)
        earlier = {figures.key: figures for figures in then}
        rows = [performance_json(figures, earlier.get(figures.key)) for figures in now]
        return {"jobs": sorted(rows, key=lambda row: (-(row["p95DurationMs"] or 0), row["key"]))}

    found = await services.answers.of(["performance", *asked.about(span), *before], state_versions.of_figures, read)
    if asked.format == "csv":
        return csv_response("performance", found["jobs"], PERFORMANCE)
    return json_response({**_span_json(span), **found})


@router.get(
    "/reports/failures",
    response_class=Response,
    responses={200: {"model": FailureReport, "content": _CSV}, **documented(422)},
)
async def report_failures(
    *,
    services: CurrentServices,
    _actor: Reader,
    asked: Asked,
) -> Response:
    """Report what failed, by error and code version: since when, and what the latest deployment did to it."""
    span = asked.span(services, timedelta(days=7))
    environment = services.app.settings.environment

    def read(
        connection: Connection,
    ) -> tuple[list[failure_report.FailureKind], list[failure_report.Deployment]]:
        names = cron_runs.names_of(connection, environment, asked.names)
        kinds = failure_report.failures(connection, environment, span, names, most=_MOST_KINDS)
        known = failure_report.deployments(connection, environment)
        return kinds, [deployment for deployment in known if deployment.at < span[1]]

    kinds, deployments = await services.database.read(read)
    total = sum(kind.count for kind in kinds)
    latest = max(deployments, key=lambda deployment: deployment.at, default=None)
    rows = [failure_json(kind, kind.count / total, latest) for kind in kinds]
    if asked.format == "csv":
        return csv_response("failures", rows, FAILURES)
    told = [{"codeVersion": item.code_version, "at": instant_text(item.at)} for item in deployments]
    return json_response({**_span_json(span), "failures": rows, "deployments": told})


@router.get(
    "/reports/trends",
    response_class=Response,
    responses={200: {"model": TrendReport, "content": _CSV}, **documented(422)},
)
async def report_trends(
    *,
    services: CurrentServices,
    _actor: Reader,
    asked: Asked,
) -> Response:
    """Report where jobs are heading: durations, failures, items and runs from day to day."""
    span = asked.span(services, timedelta(days=30))
    environment = services.app.settings.environment

    def read(connection: Connection) -> dict[str, Any]:
        names = cron_runs.names_of(connection, environment, asked.names)
        rows = rollup_rows.covering(
            connection, environment, statistics.floor(span[0], timedelta(days=1)), span[1], names
        )
        timeouts = {
            job.name: timeout_of({**job.code, **job.override}).total_seconds() * 1000
            for job in definitions.find(connection, environment, retired=True)
        }
        today = span[1].toordinal()
        jobs = sorted(_by_day(rows).items())
        return {"jobs": [_trend_json(name, days, timeouts.get(name), today) for name, days in jobs]}

    found = await services.answers.of(["trends", *asked.about(span)], state_versions.of_figures, read)
    if asked.format == "csv":
        return csv_response("trends", [_flat(job) for job in found["jobs"]], list(_flat(_trend_json("", {}, None, 0))))
    return json_response({**_span_json(span), **found})


def _by_day(rows: list[Rollup]) -> dict[str, dict[int, Figures]]:
    """Return the days of each job, by their number."""
    found: dict[str, dict[int, Figures]] = {}
    for row in rows:
        number = row.bucket.toordinal()
        days = found.setdefault(row.job_name, {})
        days.setdefault(number, Figures(row.job_name, Rollup(0, row.bucket, row.job_name))).counts.add(row)
    return found


def _trend_json(name: str, days: Mapping[int, Figures], timeout_ms: float | None, today: int) -> dict[str, Any]:
    ran = {day: figures for day, figures in days.items() if figures.ran}
    durations = [(day, float(figures.counts.durations.percentile(0.95) or 0)) for day, figures in ran.items()]
    return {
        "jobName": name,
        "days": len(ran),
        "p95DurationMs": trend_json(trend_of(durations, timeout_ms, today=today)),
        "failureRate": trend_json(trend_of([(day, 1 - (figures.success_rate or 0)) for day, figures in ran.items()])),
        "itemsProcessed": trend_json(
            trend_of([(day, float(figures.counts.items_processed)) for day, figures in ran.items()])
        ),
        "runs": trend_json(trend_of([(day, float(figures.ran)) for day, figures in ran.items()])),
    }


def _flat(trend: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trend as one line of a table."""
    flat = {"jobName": trend["jobName"], "days": trend["days"]}
    for figure in _FIGURES_OF_A_TREND:
        flat |= {f"{figure}.{name}": value for name, value in trend[figure].items()}
    return flat


def _span_json(span: Span) -> dict[str, Any]:
    return {"from": instant_text(span[0]), "to": instant_text(span[1])}
