"""mainspring: every background job of a company, run, scheduled, watched and controlled by one framework."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.domain.alert import Severity
    from mainspring.domain.circuit_breaker import CircuitBreaker
    from mainspring.domain.job import JobConfig
    from mainspring.domain.result import JobResult
    from mainspring.domain.retry import Retry
    from mainspring.domain.route import Hours, Route
    from mainspring.domain.schedule import Cron, CronError, Every, OnStartup
    from mainspring.domain.thresholds import Thresholds
    from mainspring.errors import PermanentError, SkipExecution, TransientError
    from mainspring.jobs.acquired_lock import AcquiredLock, current_lock
    from mainspring.jobs.command import Command
    from mainspring.jobs.context import JobContext
    from mainspring.jobs.harness import Job, JobFailed, JobRunnable
    from mainspring.jobs.provided import provided
    from mainspring.locks.distributed_lock import distributed_lock
    from mainspring.redis_backend.redis_locks import RedisLocks
    from mainspring.remote.service import RemoteService
    from mainspring.reports.source import ReportCaller
    from mainspring.web.app import dashboard

    __version__: str

__all__ = [
    "AcquiredLock",
    "CircuitBreaker",
    "Command",
    "Cron",
    "CronError",
    "Every",
    "Hours",
    "Job",
    "JobConfig",
    "JobContext",
    "JobFailed",
    "JobResult",
    "JobRunnable",
    "Mainspring",
    "OnStartup",
    "PermanentError",
    "RedisLocks",
    "RemoteService",
    "ReportCaller",
    "Retry",
    "Route",
    "Severity",
    "SkipExecution",
    "Thresholds",
    "TransientError",
    "__version__",
    "current_lock",
    "dashboard",
    "distributed_lock",
    "provided",
]

_HOMES: Final = {
    "AcquiredLock": "jobs.acquired_lock",
    "CircuitBreaker": "domain.circuit_breaker",
    "Command": "jobs.command",
    "Cron": "domain.schedule",
    "CronError": "domain.schedule",
    "Every": "domain.schedule",
    "Hours": "domain.route",
    "Job": "jobs.harness",
    "JobConfig": "domain.job",
    "JobContext": "jobs.context",
    "JobFailed": "jobs.harness",
    "JobResult": "domain.result",
    "JobRunnable": "jobs.harness",
    "Mainspring": "app",
    "OnStartup": "domain.schedule",
    "PermanentError": "errors",
    "RemoteService": "remote.service",
    "RedisLocks": "redis_backend.redis_locks",
    "ReportCaller": "reports.source",
    "Retry": "domain.retry",
    "Route": "domain.route",
    "Severity": "domain.alert",
    "SkipExecution": "errors",
    "Thresholds": "domain.thresholds",
    "TransientError": "errors",
    "current_lock": "jobs.acquired_lock",
    "dashboard": "web.app",
    "distributed_lock": "locks.distributed_lock",
    "provided": "jobs.provided",
}


def __getattr__(name: str) -> object:
    """Import a public name where it is first used, so that `import mainspring` loads next to nothing."""
    if name == "__version__":
        return import_module(f"{__name__}.settings").program_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
