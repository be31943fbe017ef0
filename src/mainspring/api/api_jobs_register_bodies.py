"""What a service sends to register a job: the scheduler document's body, and what else code may say of a job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.api_jobs_bodies import JobView
from mainspring.control.service_job_checks import UnfitJobError
from mainspring.control.service_jobs import Outcome, ServiceJob
from mainspring.domain.circuit_breaker import CircuitBreaker
from mainspring.domain.code_version import MAX_CHARACTERS
from mainspring.domain.job import DEFAULT_QUEUE, DEFAULT_TIMEOUT, JobDefinition, Misfire, Overlap
from mainspring.domain.retry import Retry
from mainspring.domain.schedule import parse_schedule
from mainspring.domain.thresholds import Thresholds
from mainspring.domain.write_door import clean_text
from mainspring.egress.target import MAX_URL_CHARACTERS
from mainspring.errors import DefinitionError

_A_YEAR: Final = 366 * 86_400.0
_LONGEST_TEXT: Final = 10_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
Seconds = Annotated[float, Field(ge=0, le=_A_YEAR)]
Label = Annotated[str | None, Field(max_length=200)]


class _Lenient(BaseModel):
    """What may hold more than we know: older schedulers take the bodies of newer services."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", strict=True)


class DeclaredRetry(_Lenient):
    """How often and how soon a failed run is tried again; waits in seconds."""

    max_retries: int = Field(default=3, ge=0, le=100)
    base: Seconds = 10.0
    factor: float = Field(default=2.0, ge=1, le=100)
    cap: Seconds = 3600.0
    jitter: float = Field(default=0.2, ge=0, le=1)
    deadline: Seconds | None = None


class DeclaredBreaker(_Lenient):
    """When the job stops being started because what it needs is down; times in seconds."""

    failures: int = Field(default=5, ge=1, le=10_000)
    failure_rate: float | None = Field(default=None, gt=0, le=1)
    least_runs: int = Field(default=10, ge=1, le=10_000)
    window: float = Field(default=300.0, gt=0, le=_A_YEAR)
    wait: float = Field(default=30.0, gt=0, le=_A_YEAR)
    longest_wait: float = Field(default=900.0, gt=0, le=_A_YEAR)


class DeclaredThresholds(_Lenient):
    """The limits whose breach opens an alert; times in seconds."""

    staleness: Seconds | None = None
    failure_rate: float = Field(default=0.2, ge=0, le=1)
    execution_time: Seconds | None = None
    consecutive_failures: int = Field(default=3, ge=1, le=10_000)
    recovery: int = Field(default=1, ge=1, le=10_000)
    shortest_time: Seconds | None = None
    runs_per_hour: int | None = Field(default=None, ge=1, le=99)
    least_items: int | None = Field(default=None, ge=0)
    share_of_usual_items: float | None = Field(default=None, ge=0, le=1)
    anomaly: float | None = Field(default=None, gt=0, le=1_000)
    trend_days: int | None = Field(default=None, ge=1, le=3_650)


class RegisterJob(_Lenient):
    """A job that is in the code of a service."""

    name: Name
    service_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="That of your key, which stands for it where it is not sent.",
    )
    service_url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="You are called at `{serviceUrl}/api/jobs/{name}/execute`.",
    )
    display_name: Label = None
    description: Annotated[str | None, Field(max_length=_LONGEST_TEXT)] = None
    cron_expression: str | None = Field(
        default=None, min_length=1, max_length=100, description="Without one it runs when it is asked for."
    )
    timezone: str = Field(default="UTC", min_length=1, max_length=100, description="An IANA time zone.")
    job_type: Label = None
    job_group: Label = None
    queue: Name = DEFAULT_QUEUE
    enabled: bool = Field(default=False, description="Counts at the first registration only; then it is the admins'.")
    config: dict[str, Any] = Field(default={}, description="Comes back with each call; no secrets, they are taken out.")
    code_version: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_CHARACTERS,
        description="Which of two builds is newer, for instance `1.4.2`: an older one then changes nothing.",
    )
    timeout: float = Field(default=DEFAULT_TIMEOUT.total_seconds(), gt=0, le=_A_YEAR, description="Seconds.")
    retry: DeclaredRetry | None = None
    breaker: DeclaredBreaker | None = None
    thresholds: DeclaredThresholds = Field(default_factory=DeclaredThresholds)
    rate_limit: str | None = Field(default=None, max_length=50, description="How often it may start, such as `100/m`.")
    max_running: int | None = Field(default=None, ge=1, le=1_000_000)
    overlap: Literal["skip", "queue", "cancel_running", "allow"] = "skip"
    misfire: Literal["skip", "fire_once", "fire_all"] = "fire_once"
    catch_up: Seconds = 86_400.0
    jitter: Seconds = 0.0
    depends_on: list[Name] = Field(default=[], max_length=100, description="It runs after every success of these.")

    def service_job(self) -> ServiceJob:
        """Return the job that it declares.

        Raises:
            CronError: The expression cannot be read or can never fire, or there is no such time zone.
            UnfitJobError: It could never run so, for another reason.
        """
        schedule = None if self.cron_expression is None else parse_schedule(self.cron_expression, self.timezone)
        try:
            definition = JobDefinition(
                name=self.name,
                display_name=clean_text(self.display_name or "", _LONGEST_TEXT),
                description=clean_text(self.description or "", _LONGEST_TEXT),
                group=clean_text(self.job_group or "default", _LONGEST_TEXT),
                job_type=clean_text(self.job_type or "job", _LONGEST_TEXT),
                queue=self.queue,
                schedule=schedule,
                enabled=self.enabled,
                config=self.config,
                timeout=timedelta(seconds=self.timeout),
                retry=None if self.retry is None else _retry(self.retry),
                breaker=None if self.breaker is None else _breaker(self.breaker),
                thresholds=_thresholds(self.thresholds),
                rate_limit=self.rate_limit,
                max_running=self.max_running,
                overlap=Overlap(self.overlap),
                misfire=Misfire(self.misfire),
                catch_up=timedelta(seconds=self.catch_up),
                jitter=timedelta(seconds=self.jitter),
                depends_on=tuple(self.depends_on),
            )
        except DefinitionError as error:
            raise UnfitJobError(str(error)) from error
        return ServiceJob(definition, self.service_url, self.code_version)

    @property
    def unknown_fields(self) -> list[str]:
        """The fields that were sent and mean nothing here."""
        return sorted(_unknown_in(self))


class Registered(JobView):
    """Answers a registration: the job as it is now."""

    outcome: Outcome = Field(
        description="`superseded`: newer code of yours has said otherwise, and nothing was changed."
    )
    warnings: list[str] = Field(description="Fields that mean nothing here, and were ignored.")


def _unknown_in(sent: BaseModel, path: str = "") -> Iterator[str]:
    for name in sent.model_extra or ():
        yield f"{path}{name}"
    for name, field in type(sent).model_fields.items():
        if isinstance(value := getattr(sent, name), BaseModel):
            yield from _unknown_in(value, f"{path}{field.alias or name}.")


def _retry(sent: DeclaredRetry) -> Retry:
    return Retry(
        max_retries=sent.max_retries,
        base=timedelta(seconds=sent.base),
        factor=sent.factor,
        cap=timedelta(seconds=sent.cap),
        jitter=sent.jitter,
        deadline=_span(sent.deadline),
    )


def _breaker(sent: DeclaredBreaker) -> CircuitBreaker:
    return CircuitBreaker(
        failures=sent.failures,
        failure_rate=sent.failure_rate,
        least_runs=sent.least_runs,
        window=timedelta(seconds=sent.window),
        wait=timedelta(seconds=sent.wait),
        longest_wait=timedelta(seconds=sent.longest_wait),
    )


def _thresholds(sent: DeclaredThresholds) -> Thresholds:
    return Thresholds(
        staleness=_span(sent.staleness),
        failure_rate=sent.failure_rate,
        execution_time=_span(sent.execution_time),
        consecutive_failures=sent.consecutive_failures,
        recovery=sent.recovery,
        shortest_time=_span(sent.shortest_time),
        runs_per_hour=sent.runs_per_hour,
        least_items=sent.least_items,
        share_of_usual_items=sent.share_of_usual_items,
        anomaly=sent.anomaly,
        trend_days=sent.trend_days,
    )


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
