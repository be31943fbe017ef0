"""What a job is: the definition that code owns, and the policies in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.rate import Rate
from mainspring.domain.retry import Retry
from mainspring.domain.schedule import Cron, Every, OnStartup
from mainspring.domain.thresholds import Thresholds
from mainspring.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from mainspring.domain.circuit_breaker import CircuitBreaker

    Schedule = Cron | Every | OnStartup

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
RESERVED_NAMES: Final = frozenset(
    {"register", "bulk", "status", "stats", "reports", "runs", "trigger", "executions", "ws"}
)
DEFAULT_TIMEOUT: Final = timedelta(hours=1)
DEFAULT_QUEUE: Final = "default"
DEFAULT_CATCH_UP: Final = timedelta(hours=24)
DEFAULT_CATCH_UP_LIMIT: Final = 100
_A_SPAN: Final = (timedelta, "timedelta(minutes=5)")
_KINDS: Final[Mapping[str, tuple[type | tuple[type, ...], str]]] = {
    "schedule": ((Cron, Every, OnStartup), 'Cron("0 9 * * *"), Every(minutes=5) or OnStartup()'),
    "retry": (Retry, "Retry(max_retries=3)"),
    "thresholds": (Thresholds, "Thresholds(failure_rate=0.5)"),
    "timeout": _A_SPAN,
    "catch_up": _A_SPAN,
    "jitter": _A_SPAN,
    "cpu_limit": _A_SPAN,
}
"""What the options of a definition must be that people give as plain numbers and texts, with how to write one."""


class Overlap(StrEnum):
    """What a schedule does when its previous run has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_RUNNING = "cancel_running"
    ALLOW = "allow"


class Misfire(StrEnum):
    """What a schedule does about instants that passed while nobody could fire them."""

    SKIP = "skip"
    FIRE_ONCE = "fire_once"
    FIRE_ALL = "fire_all"


class OnLost(StrEnum):
    """What becomes of an execution whose node died: try again, or fail (at most one start)."""

    RETRY = "retry"
    FAIL = "fail"


class ExecutorKind(StrEnum):
    """How an attempt is carried out; `auto` is async for coroutine functions and a thread for others.

    `remote` is for jobs that services register over HTTP; no job of the application itself is carried out so.
    """

    AUTO = "auto"
    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"
    REMOTE = "remote"
    DASK = "dask"


@dataclass(frozen=True, slots=True)
class JobConfig:
    """The configuration of a job registered as an object (platform-jobs document).

    Args:
        name: The unique name, `[A-Za-z0-9][A-Za-z0-9._-]{0,199}`.
        description: One sentence for people.
        schedule: When it fires.
        schedule_interval_ms: The same as an interval in milliseconds; give one of the two.
        enabled: Whether it fires and may be triggered.
        run_on_startup: Whether it also runs once when a node starts.
        timeout: The longest attempt.
        group: A label that people sort by.
        retry: Retries; None: none for scheduled jobs.
        thresholds: The limits that open alerts.
    """

    name: str
    description: str = ""
    schedule: Schedule | None = None
    schedule_interval_ms: int | None = None
    enabled: bool = True
    run_on_startup: bool = False
    timeout: timedelta = DEFAULT_TIMEOUT
    group: str = "default"
    retry: Retry | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """What exists in code under a unique name. Admins change its schedule's *when*, never this."""

    name: str
    description: str = ""
    display_name: str = ""
    group: str = "default"
    job_type: str = "job"
    queue: str = DEFAULT_QUEUE
    schedule: Schedule | None = None
    schedule_payload: Any = None
    run_on_startup: bool = False
    enabled: bool = True
    retry: Retry | None = None
    timeout: timedelta = DEFAULT_TIMEOUT
    thresholds: Thresholds = field(default_factory=Thresholds)
    executor: ExecutorKind = ExecutorKind.AUTO
    max_running: int | None = None
    concurrency_key: str | None = None
    rate_limit: str | None = None
    breaker: CircuitBreaker | None = None
    overlap: Overlap = Overlap.SKIP
    misfire: Misfire = Misfire.FIRE_ONCE
    catch_up: timedelta = DEFAULT_CATCH_UP
    catch_up_limit: int = DEFAULT_CATCH_UP_LIMIT
    jitter: timedelta = timedelta(0)
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    pause_after: int | None = None
    condition: Callable[[], bool | Awaitable[bool]] | None = None
    on_demand: bool = False
    depends_on: tuple[str, ...] = ()
    on_lost: OnLost = OnLost.RETRY
    sensitive: tuple[str, ...] = ()
    searchable: tuple[str, ...] = ()
    allow_money: tuple[str, ...] = ()
    critical: bool = False
    """Whether people who stop it have to type its name and say why."""
    notify: tuple[Mapping[str, Any], ...] = ()
    """The routes of its own, beside those of everybody, as `Route.as_json` gives them."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    memory_limit: int | None = None
    cpu_limit: timedelta | None = None
    external: bool = False
    """Whether somebody else starts it, such as cron: its instants are expected then, each for `catch_up`."""

    def __post_init__(self) -> None:
        """Refuse what could never run."""
        check_name(self.name)
        self._check_kinds()
        if self.timeout <= timedelta(0):
            msg = f"job {self.name!r}: timeout is {self.timeout}: it must be longer than zero"
            raise DefinitionError(msg)
        for option in ("max_running", "pause_after", "catch_up_limit"):
            value = getattr(self, option)
            if value is not None and value < 1:
                msg = f"job {self.name!r}: {option} is {value}: it must be at least 1"
                raise DefinitionError(msg)
        for option in ("catch_up", "jitter"):
            if getattr(self, option) < timedelta(0):
                msg = f"job {self.name!r}: {option} must not be negative"
                raise DefinitionError(msg)
        self._check_bounds()
        self._check_limits()
        try:
            _ = self.rate
        except DefinitionError as error:
            msg = f"job {self.name!r}: {error}"
            raise DefinitionError(msg) from None

    def _check_kinds(self) -> None:
        for option, (kind, example) in _KINDS.items():
            value = getattr(self, option)
            if value is not None and not isinstance(value, kind):
                raise DefinitionError(f"job {self.name!r}: {option} is {value!r}: write {option}={example}")

    def _check_bounds(self) -> None:
        for option in ("starts_at", "ends_at"):
            bound = getattr(self, option)
            if bound is not None and bound.utcoffset() is None:
                msg = f"job {self.name!r}: {option} has no time zone: give one, for instance tzinfo=UTC"
                raise DefinitionError(msg)
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            msg = f"job {self.name!r}: ends_at is not later than starts_at, so that it could never fire"
            raise DefinitionError(msg)

    def _check_limits(self) -> None:
        """Refuse limits that would hold nothing: the system sets them to a process, and a node is one for many jobs."""
        for option, least in (("memory_limit", 1), ("cpu_limit", timedelta.resolution)):
            limit = getattr(self, option)
            if limit is None:
                continue
            if limit < least:
                raise DefinitionError(f"job {self.name!r}: {option} is {limit}: it must be more than zero")
            if self.executor is not ExecutorKind.PROCESS:
                msg = (
                    f'job {self.name!r}: {option} holds only in a process of its own: declare executor="process" '
                    "as well, or leave the limit out"
                )
                raise DefinitionError(msg)

    @property
    def rate(self) -> Rate | None:
        """How often it may start; None: as often as it is asked for.

        Raises:
            DefinitionError: `rate_limit` cannot be read.
        """
        return None if self.rate_limit is None else Rate.parse(self.rate_limit)

    @property
    def runs_on_startup(self) -> bool:
        """Whether it runs when the application starts."""
        return self.run_on_startup or isinstance(self.schedule, OnStartup)

    @property
    def running_limit(self) -> int | None:
        """How many of it may run at once: as declared, else one for a job with a schedule, else without limit.

        A schedule whose runs may overlap (`overlap="allow"`) sets no limit by itself. A concurrency key means one,
        unless it is there for a rate.
        """
        if self.max_running is not None or self.external:
            return self.max_running
        has_own_limit = self.concurrency_key is not None and self.rate_limit is None
        if self.overlap is Overlap.ALLOW and not has_own_limit:
            return None
        return 1 if self.schedule is not None or self.run_on_startup or has_own_limit else None


def check_name(name: str) -> str:
    """Return `name` if a job may be called so.

    Raises:
        DefinitionError: The name breaks the rule of contract §4, or is a word of the API's own paths.
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"job name {name!r} cannot be used: a name begins with a letter or digit, goes on with letters, digits, "
            "dots, underscores or hyphens, and has at most 200 characters"
        )
        raise DefinitionError(msg)
    if name in RESERVED_NAMES:
        msg = f"job name {name!r} is a word of the API's own paths; choose another, for instance {name + '-job'!r}"
        raise DefinitionError(msg)
    return name
