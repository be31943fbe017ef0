"""How an attempt is carried out: its secrets in clear, its condition, the executor, the harness around the handler."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.execution import Trigger
from mainspring.domain.redaction import texts_under, withheld
from mainspring.domain.result import JobResult, ReportedFailureError
from mainspring.errors import SkipExecution
from mainspring.jobs.cancellation import raise_if_stray
from mainspring.jobs.harness import JobStatus
from mainspring.jobs.job_run import Harness, JobRun
from mainspring.runtime.attempt import StopReason
from mainspring.runtime.attempt_end import ending_of
from mainspring.runtime.local_executor import executor_for
from mainspring.security.payload_cipher import holds_cipher

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from mainspring.domain.job import ExecutorKind
    from mainspring.runtime.attempt import Attempt
    from mainspring.runtime.conditions import Conditions
    from mainspring.runtime.local_executor import Executor
    from mainspring.runtime.suspects import Suspects
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.store.queue.finishes import Finish, Release

_logger = logging.getLogger(__name__)


def carry_out(
    attempt: Attempt,
    executors: Mapping[ExecutorKind, Executor],
    harness: Harness,
    conditions: Conditions,
    suspects: Suspects,
    *,
    cipher: PayloadCipher,
    chance: float,
) -> Coroutine[Any, Any, Finish | Release | None]:
    """Run the handler in the harness and return what is to be written of its end; None: another program goes on.

    Args:
        attempt: What to run; its start line has been written.
        executors: The ways to run it that this node has.
        harness: Times, logs and traces it.
        conditions: Whether a run that somebody asked for is wanted; those of schedules were asked at their tick.
        suspects: How it is carried out where an earlier attempt was lost.
        cipher: What secrets of its payload are kept in.
        chance: A random number in [0, 1), for the jitter of a retry.
    """
    claimed, sensitive = attempt.claimed, attempt.job.definition.sensitive
    work = _carry_out(attempt, executors, harness, conditions, suspects, chance=chance)
    if sensitive or holds_cipher(claimed.payload) or holds_cipher(claimed.checkpoint):
        return _carry_out_in_secret(attempt, work, cipher)
    return work


async def _carry_out_in_secret(
    attempt: Attempt, work: Coroutine[Any, Any, Finish | Release | None], cipher: PayloadCipher
) -> Finish | Release | None:
    secrets = attempt.decrypt(cipher)
    # What was secret in the payload stands in no result, error or log line of this process while it runs.
    with withheld([*secrets, *texts_under(attempt.job.definition.sensitive, attempt.context.payload)]):
        return await work


async def _carry_out(
    attempt: Attempt,
    executors: Mapping[ExecutorKind, Executor],
    harness: Harness,
    conditions: Conditions,
    suspects: Suspects,
    *,
    chance: float,
) -> Finish | Release | None:
    run: JobRun[object] = JobRun(attempt.identity, announced=True, traced=attempt.traced)

    async def handler() -> object:
        await _begin(attempt, conditions)
        is_suspect = attempt.claimed.isolate
        executor = executor_for(attempt.job, executors, isolated=is_suspect)
        execute = partial(suspects.execute, executor) if is_suspect else executor.execute
        try:
            returned = await execute(attempt.job, attempt.context)
        except asyncio.CancelledError as error:
            if attempt.stop_reason is StopReason.TIMEOUT:
                raise attempt.timeout_error from None
            raise_if_stray(error, attempt.stop_reason, attempt.claimed.job_name)
            raise
        if isinstance(returned, JobResult) and not returned.success:
            raise ReportedFailureError(returned)
        return returned

    try:
        await harness.carry_out(run, handler)
    except asyncio.CancelledError:
        if attempt.stop_reason is None:
            raise
        # The harness has recorded it; the node asked for it, so that it ends here and not in the node's task.
    except BaseException as error:  # noqa: BLE001 - a handler's SystemExit is its failure, not the node's end
        _logger.warning("job %r raised %s, which fails the attempt", run.name, type(error).__name__)
    _tell_if_it_did_not_stop(attempt, run)
    if run.goes_on:
        attempt.goes_on = True
        return None
    end = ending_of(attempt, run, chance=chance)
    if attempt.tracking is not None:
        attempt.tracking.ended(attempt, run, end)
    return end


def _tell_if_it_did_not_stop(attempt: Attempt, run: JobRun[object]) -> None:
    if attempt.stop_reason is None or run.status is not JobStatus.SUCCESS:
        return
    told = (
        f"told to stop ({attempt.stop_reason}), it ended as a success all the same, and that is what is kept: let its "
        "cancellation go on, see MS202 in docs/check.md"
    )
    _logger.warning("job %r, execution %s: %s", attempt.claimed.job_name, attempt.claimed.id, told)
    attempt.context.log(told, level="warning")


_ASKED_AT_TICK: Final = frozenset({Trigger.CRON, Trigger.INTERVAL, Trigger.STARTUP})


async def _begin(attempt: Attempt, conditions: Conditions) -> None:
    """Do what comes before the handler, which may keep it from being called."""
    if attempt.refusal is not None:
        raise attempt.refusal
    if attempt.job.definition.condition is not None and attempt.claimed.trigger not in _ASKED_AT_TICK:
        refusal = await conditions.ask(attempt.claimed.job_name)
        if refusal is not None:
            raise SkipExecution(refusal.value)
    if attempt.tracking is not None:
        await attempt.tracking.started(attempt)
