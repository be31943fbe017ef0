"""Handles for user code: a job that can be enqueued, typed by its payload, and an execution that can be awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, cast, overload

from mainspring.control.options import ExecutionRequest
from mainspring.domain.execution import Status
from mainspring.errors import ExecutionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from uuid import UUID

    from mainspring.control.executions import ExecutionCommands
    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.domain.execution import Execution
    from mainspring.domain.job import JobDefinition
    from mainspring.jobs.registry import RegisteredJob

Payload_contra = TypeVar("Payload_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class ExecutionHandle(Generic[Result_co]):
    """An execution that was accepted."""

    def __init__(self, execution_id: UUID, job: RegisteredJob, commands: ExecutionCommands, actor: Actor) -> None:
        self._id = execution_id
        self._job = job
        self._commands = commands
        self._actor = actor

    @property
    def id(self) -> UUID:
        """The execution's id."""
        return self._id

    @property
    def job_name(self) -> str:
        """The job's name."""
        return self._job.definition.name

    async def fetch(self) -> Execution:
        """Return the execution as it is now."""
        return await self._commands.get(self._actor.scope, self._id)

    async def wait(self, timeout: timedelta | None = None) -> Result_co:
        """Return the result when the execution has succeeded.

        Args:
            timeout: The longest wait; None waits for ever. The execution goes on whatever happens to the wait.

        Returns:
            The result, of the type that the handler declares; None where the execution was skipped.

        Raises:
            ExecutionFailedError: It failed or was cancelled.
            WaitTimeoutError: It has not ended in time.
            ResultMismatchError: The result was too large, or no JSON, and does not fit its type.

        Example:
            >>> file = await execution.wait(timeout=timedelta(seconds=30))  # doctest: +SKIP
        """
        execution = await self._commands.wait(self._actor.scope, self._id, timeout=timeout)
        if execution.status in (Status.FAILED, Status.CANCELLED):
            why = execution.error_message or "nothing was said"
            raise ExecutionFailedError(
                f"job {execution.job_name!r}, execution {self._id}, is {execution.status}: {why}",
                status=execution.status.value,
            )
        if execution.status is Status.SKIPPED:
            return cast("Result_co", None)
        return cast("Result_co", self._job.handler.read_result(execution.result, execution.job_name))

    async def cancel(self) -> None:
        """Cancel it: at once where it waits, within ten seconds where it runs.

        Raises:
            NotCancellableError: It has ended.
        """
        await self._commands.cancel(self._actor, self._id)

    def __repr__(self) -> str:
        """Name the job and the id."""
        return f"<Execution {self._id} of {self.job_name!r}>"


class JobHandle(Generic[Payload_contra, Result_co]):
    """A declared job: what `@app.job` makes of a function.

    Attributes:
        function: The function as it was written, for unit tests.
    """

    def __init__(
        self,
        job: RegisteredJob,
        function: Callable[..., object],
        commands: Callable[[], tuple[ExecutionCommands, Actor]],
    ) -> None:
        self._job = job
        self._commands = commands
        self.function = function

    @property
    def name(self) -> str:
        """The job's name."""
        return self._job.definition.name

    @property
    def definition(self) -> JobDefinition:
        """The job's definition: its schedule, limits and policies."""
        return self._job.definition

    @overload
    async def enqueue(
        self: JobHandle[None, Result_co], payload: None = None, **options: Unpack[EnqueueOptions]
    ) -> ExecutionHandle[Result_co]: ...
    @overload
    async def enqueue(
        self, payload: Payload_contra, **options: Unpack[EnqueueOptions]
    ) -> ExecutionHandle[Result_co]: ...
    async def enqueue(self, payload: Any = None, **options: Unpack[EnqueueOptions]) -> ExecutionHandle[Result_co]:
        """Ask for one execution; when this returns, it survives any crash.

        Args:
            payload: Of the type that the handler declares.
            **options: See `EnqueueOptions`.

        Returns:
            The execution, which can be awaited.

        Example:
            >>> execution = await weekly_digest.enqueue(Digest(team="red"), priority=5)  # doctest: +SKIP
        """
        return (await self._enqueue([payload], options))[0]

    async def enqueue_many(
        self, payloads: Sequence[Payload_contra], **options: Unpack[EnqueueOptions]
    ) -> list[ExecutionHandle[Result_co]]:
        """Ask for one execution for each payload, all or none."""
        return await self._enqueue(payloads, options)

    @overload
    def request(
        self: JobHandle[None, Result_co], payload: None = None, **options: Unpack[EnqueueOptions]
    ) -> ExecutionRequest: ...
    @overload
    def request(self, payload: Payload_contra, **options: Unpack[EnqueueOptions]) -> ExecutionRequest: ...
    def request(self, payload: Any = None, **options: Unpack[EnqueueOptions]) -> ExecutionRequest:
        """Return one execution of a chain or a fan-out, for `app.flows`; nothing is asked for yet."""
        return ExecutionRequest(self.name, payload, options)

    async def _enqueue(self, payloads: Sequence[Any], options: EnqueueOptions) -> list[ExecutionHandle[Result_co]]:
        commands, actor = self._commands()
        ids = await commands.enqueue(self.name, payloads, **options)
        return [ExecutionHandle(execution_id, self._job, commands, actor) for execution_id in ids]
