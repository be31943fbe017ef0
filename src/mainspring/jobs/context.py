"""The context of a running handler: its identity, its progress and log lines, and whether it should stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol

from mainspring.domain.execution import Progress, Trigger
from mainspring.domain.write_door import MAX_LOG_CHARACTERS, clean_text, to_jsonable
from mainspring.errors import JobCancelledError
from mainspring.jobs.acquired_lock import current_lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from typing_extensions import TypeVar  # here alone: importing it is slow

    from mainspring.jobs.acquired_lock import AcquiredLock

    Payload = TypeVar("Payload", default=Any)
else:
    from typing import TypeVar

    Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a handler wrote with `ctx.log`."""

    level: str
    message: str
    fields: dict[str, Any]


class ContextSink(Protocol):
    """Where a context puts log lines and progress: the sink of its node, or the pipe of a child process.

    Every method but `save_checkpoint` returns at once and may be called from any thread.
    """

    def log(self, context: JobContext[Any], line: LogLine) -> None:
        """Keep a log line."""
        ...

    def progressed(self, context: JobContext[Any]) -> None:
        """Notice that `context.reported` has changed."""
        ...

    def beat(self, context: JobContext[Any]) -> None:
        """Notice that the handler is alive."""
        ...

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        """Store a checkpoint, and return when it is durable."""
        ...


@dataclass(slots=True, eq=False)
class JobContext(Generic[Payload]):
    """The handler's view of its attempt.

    All methods return at once and never block, save `checkpoint`, which is awaited.

    Attributes:
        execution_id: The execution's id.
        job_name: The job's name.
        attempt: Which try this is, from 1.
        fence: A number that grows with every attempt; systems that can refuse a lower one are safe from late attempts.
        trigger: What made the execution: a schedule, a person, the API or a program.
        scheduled_for: The due instant, for a run that a schedule fired.
        node: The name of the node that runs it.
        deadline: When the attempt times out.
        payload: The payload, of the type that the handler declares.
        config: The job's configuration, with the changes of admins.
        last_checkpoint: What an earlier attempt stored with `checkpoint`; None: nothing.
        organization_id: The tenant that the execution belongs to, if any.
        user_id: The user that it belongs to, if any.
    """

    execution_id: UUID
    job_name: str
    attempt: int
    fence: int
    trigger: Trigger
    node: str
    payload: Payload
    sink: ContextSink
    scheduled_for: datetime | None = None
    deadline: datetime | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    last_checkpoint: Any = None
    organization_id: str | None = None
    user_id: str | None = None
    reported: Progress = field(default_factory=Progress)
    _cancelled: bool = False

    def log(self, message: str, /, *, level: str = "info", **fields: object) -> None:
        """Keep a log line with the execution; it is shown live on the dashboard and by `executions logs`.

        Args:
            message: What happened; at most 8,000 characters are kept.
            level: `debug`, `info`, `warning` or `error`.
            **fields: Anything JSON that belongs to it.

        Example:
            >>> ctx.log("digest sent", recipients=12)  # doctest: +SKIP
        """
        safe = {key: to_jsonable(value) for key, value in fields.items()}
        self.sink.log(self, LogLine(level, clean_text(message, MAX_LOG_CHARACTERS), safe))

    def progress(self, done: float, *, of: float = 100, message: str | None = None) -> None:
        """Report progress: `done` of `of` units, shown as a percentage from 0 to 100.

        Args:
            done: Units done.
            of: Units in all, more than 0.
            message: What the handler is doing, in a few words.
        """
        self.reported.percent = max(0, min(100, int(done * 100 / of))) if of > 0 else 0
        if message is not None:
            self.reported.message = clean_text(message, 500)
        self.sink.progressed(self)

    def step(self, number: int, *, of: int, label: str | None = None, percent: int | None = None) -> None:
        """Report that a step begins.

        Args:
            number: Which step, from 1.
            of: How many there are.
            label: What it does, in a few words.
            percent: The progress to show, 0 to 100; by default the step's share of all.
        """
        self.reported.current_step = number
        self.reported.total_steps = of
        self.progress(percent if percent is not None else number * 100 / max(of, 1), message=label)

    def items(self, *, processed: int = 0, succeeded: int = 0, failed: int = 0) -> None:
        """Add to the counts of items, each at least 0."""
        self.reported.items_processed += processed
        self.reported.items_succeeded += succeeded
        self.reported.items_failed += failed
        self.sink.progressed(self)

    def heartbeat(self) -> None:
        """Report that the work goes on while there is no progress to report; stored at most once a second."""
        self.sink.beat(self)

    async def checkpoint(self, value: object) -> None:
        """Store where to go on from; durable when this returns. The next attempt finds it as `last_checkpoint`.

        Args:
            value: Anything JSON, at most 256 kB.

        Raises:
            LeaseLostError: This attempt no longer holds the execution.
        """
        await self.sink.save_checkpoint(self, value)

    @property
    def lock(self) -> AcquiredLock | None:
        """The innermost lock that the caller holds, with its fence; None: it holds none."""
        return current_lock()

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: somebody cancelled it, it timed out, or its lease or lock was lost."""
        return self._cancelled

    def raise_if_cancelled(self) -> None:
        """Raise if the handler should stop; call it between units of work in synchronous code.

        Raises:
            JobCancelledError: It should stop.
        """
        if self._cancelled:
            msg = f"job {self.job_name!r}, execution {self.execution_id}: the work was told to stop"
            raise JobCancelledError(msg)

    def stop(self) -> None:
        """Mark the handler as one that should stop; called by the runtime."""
        self._cancelled = True
