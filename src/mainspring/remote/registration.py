"""How a service makes its jobs known to the scheduler, however long that one is down."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

import orjson

from mainspring.domain.retry import Retry
from mainspring.domain.schedule import Cron, OnStartup
from mainspring.domain.write_door import verbatim_json
from mainspring.errors import EgressFailedError, EgressRefusedError, MainspringError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mainspring.domain.circuit_breaker import CircuitBreaker
    from mainspring.domain.job import JobDefinition
    from mainspring.domain.thresholds import Thresholds
    from mainspring.egress.client import Answer, Egress
    from mainspring.world import World

_logger = logging.getLogger(__name__)

_BACKOFF: Final = Retry(base=timedelta(seconds=1), cap=timedelta(minutes=1), jitter=0.5)
_CALL_DEADLINE: Final = timedelta(seconds=10)
_PASSING: Final = frozenset({408, 425, 429})
_MAX_DETAIL: Final = 500


class RegistrationRefusedError(MainspringError):
    """The scheduler does not take a job as it is declared, or not from this service; another try ends the same way."""

    code = "REGISTRATION_REFUSED"


class RegistrationTimeoutError(TransientError, TimeoutError):
    """The scheduler could not be told of the jobs in the time that there was."""

    code = "REGISTRATION_TIMEOUT"


@dataclass(frozen=True, slots=True)
class RegisteredServiceJob:
    """What the scheduler says of a job that it has registered.

    Attributes:
        name: The job.
        outcome: `created`, `updated`, `unchanged`, or `superseded`: newer code has said otherwise, and that stays.
        enabled: Whether it fires: admins decide that.
        warnings: What the scheduler did not understand.
    """

    name: str
    outcome: str
    enabled: bool
    warnings: Sequence[str] = ()


class Registrar:
    """Registers the jobs of one service.

    Args:
        service: Its name.
        scheduler_url: Where its scheduler is.
        callback_url: Where the scheduler reaches it.
        key: Its API key.
        version: Which code it runs, for instance `1.4.2`: an older build then cannot undo what a newer one has said.
        egress: Sends the requests.
        world: Time and chance.
    """

    def __init__(
        self,
        *,
        service: str,
        scheduler_url: str,
        callback_url: str,
        key: str,
        version: str | None,
        egress: Egress,
        world: World,
    ) -> None:
        self._service = service
        self._scheduler_url = scheduler_url.rstrip("/")
        self._callback_url = callback_url
        self._key = key
        self._version = version
        self._egress = egress
        self._world = world

    async def register_all(
        self, jobs: Sequence[JobDefinition], *, timeout: timedelta | None
    ) -> list[RegisteredServiceJob]:
        """Register jobs, and tell the scheduler that there are no others.

        Args:
            jobs: All jobs of this service.
            timeout: The longest time for all of it; None: until the scheduler answers.

        Raises:
            RegistrationRefusedError: It does not take one of them. The others are registered all the same.
            RegistrationTimeoutError: It could not be reached in time.
        """
        until = None if timeout is None else self._world.monotonic() + timeout.total_seconds()
        registered: list[RegisteredServiceJob] = []
        refusals: list[str] = []
        for job in jobs:
            try:
                registered.append(await self._register(job, until))
            except RegistrationRefusedError as refusal:
                refusals.append(str(refusal))
        if refusals:
            raise RegistrationRefusedError("; ".join(refusals))
        await self._list([job.name for job in jobs], until)
        _logger.info("service %r: %s", self._service, _told(registered))
        return registered

    async def _register(self, job: JobDefinition, until: float | None) -> RegisteredServiceJob:
        body = self.body_of(job)
        answer = await self._send("POST", "/api/jobs/register", body, f"job {job.name!r}", until)
        said = _json_of(answer)
        warnings = [str(warning) for warning in said.get("warnings") or ()]
        if warnings:
            _logger.warning("job %r: the scheduler does not know %s, and ignored it", job.name, ", ".join(warnings))
        return RegisteredServiceJob(job.name, str(said.get("outcome", "")), bool(said.get("enabled")), warnings)

    async def _list(self, names: Sequence[str], until: float | None) -> None:
        body = {"names": list(names), "codeVersion": self._version}
        path = f"/api/services/{quote(self._service, safe='')}/jobs"
        await self._send("PUT", path, _without_none(body), "the list of its jobs", until)

    def body_of(self, job: JobDefinition) -> dict[str, Any]:
        """Return what registers a job: the body of the scheduler document, and what else code says of it."""
        schedule = job.schedule
        body: dict[str, Any] = {
            "name": job.name,
            "serviceName": self._service,
            "serviceUrl": self._callback_url,
            "displayName": job.display_name or job.name,
            "description": job.description,
            "cronExpression": _expression_of(schedule),
            "timezone": schedule.tz if isinstance(schedule, Cron) else None,
            "jobType": job.job_type,
            "jobGroup": job.group,
            "queue": job.queue,
            "enabled": job.enabled,
            "config": dict(job.config),
            "codeVersion": self._version,
            "timeout": job.timeout.total_seconds(),
            "retry": None if job.retry is None else _retry_of(job.retry),
            "breaker": None if job.breaker is None else _breaker_of(job.breaker),
            "thresholds": _thresholds_of(job.thresholds),
            "rateLimit": job.rate_limit,
            "maxRunning": job.max_running,
            "overlap": job.overlap.value,
            "misfire": job.misfire.value,
            "catchUp": job.catch_up.total_seconds(),
            "jitter": job.jitter.total_seconds(),
        }
        return _without_none(body)

    async def _send(self, method: str, path: str, body: dict[str, Any], what: str, until: float | None) -> Answer:
        """Send one request until the scheduler has taken it, refused it, or time is over."""
        for retry in count():
            wait: timedelta | None = None
            try:
                answer = await self._request(method, path, body)
            except EgressRefusedError as error:
                raise RegistrationRefusedError(f"{self._refused(what)}: {error}") from error
            except EgressFailedError as error:
                why = str(error)
            else:
                if answer.is_success:
                    return answer
                why = f"{self._scheduler_url} answered {_problem_of(answer)}"
                wait = answer.retry_after(self._world.now())
                if 400 <= answer.status < 500 and answer.status not in _PASSING:  # noqa: PLR2004 - RFC 9110 §15.5
                    raise RegistrationRefusedError(f"{self._refused(what)}: {why}")
            seconds = _BACKOFF.delay(
                retry, chance=self._world.random(), at_least=None if wait is None else wait.total_seconds()
            )
            if until is not None and self._world.monotonic() + seconds > until:
                raise RegistrationTimeoutError(
                    f"service {self._service!r} could not register {what}: {why}. Start the scheduler, or check "
                    f"`scheduler_url`; without a timeout, registering goes on until it answers"
                )
            _logger.warning(
                "service %r waits for its scheduler to register %s: %s; again in %.1f s. Its jobs are run once it has "
                "registered them",
                self._service, what, why, seconds,
            )  # fmt: skip
            await self._world.sleep(seconds)
        raise AssertionError("it counts for ever")

    async def _request(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        return await self._egress.request(
            method,
            f"{self._scheduler_url}{path}",
            body=verbatim_json(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
            deadline=_CALL_DEADLINE,
            set_by_operator=True,
        )

    def _refused(self, what: str) -> str:
        return f"the scheduler does not take {what} of the service {self._service!r}"


def _expression_of(schedule: object) -> str | None:
    if isinstance(schedule, Cron):
        return schedule.expression
    return "@reboot" if isinstance(schedule, OnStartup) else None


def _retry_of(retry: Retry) -> dict[str, Any]:
    return _without_none(
        {
            "maxRetries": retry.max_retries,
            "base": retry.base.total_seconds(),
            "factor": float(retry.factor),
            "cap": retry.cap.total_seconds(),
            "jitter": float(retry.jitter),
            "deadline": _seconds(retry.deadline),
        }
    )


def _breaker_of(breaker: CircuitBreaker) -> dict[str, Any]:
    return _without_none(
        {
            "failures": breaker.failures,
            "failureRate": None if breaker.failure_rate is None else float(breaker.failure_rate),
            "leastRuns": breaker.least_runs,
            "window": breaker.window.total_seconds(),
            "wait": breaker.wait.total_seconds(),
            "longestWait": breaker.longest_wait.total_seconds(),
        }
    )


def _thresholds_of(thresholds: Thresholds) -> dict[str, Any]:
    return _without_none(
        {
            "staleness": _seconds(thresholds.staleness),
            "failureRate": float(thresholds.failure_rate),
            "executionTime": _seconds(thresholds.execution_time),
            "consecutiveFailures": thresholds.consecutive_failures,
            "recovery": thresholds.recovery,
            "shortestTime": _seconds(thresholds.shortest_time),
            "runsPerHour": thresholds.runs_per_hour,
            "leastItems": thresholds.least_items,
            "shareOfUsualItems": thresholds.share_of_usual_items,
            "anomaly": thresholds.anomaly,
            "trendDays": thresholds.trend_days,
        }
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _json_of(answer: Answer) -> dict[str, Any]:
    try:
        said: object = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}


def _problem_of(answer: Answer) -> str:
    """Return what an answer that is no success says, in one line."""
    said = _json_of(answer)
    more = f" ({said['code']}: {str(said.get('detail', ''))[:_MAX_DETAIL]})" if "code" in said else ""
    return f"HTTP {answer.status}{more}"


def _told(registered: Iterable[RegisteredServiceJob]) -> str:
    jobs = [f"{job.name} {job.outcome}{'' if job.enabled else ', not enabled'}" for job in registered]
    return f"the scheduler has registered {'; '.join(jobs) or 'no job'}"
