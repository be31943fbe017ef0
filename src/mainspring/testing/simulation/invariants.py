"""What must hold of every execution, whatever happened to the nodes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import FINAL, TRANSITIONS, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from mainspring.domain.execution import Attempt, Execution
    from mainspring.testing.simulation.witness import Change, Shift

_RETRIED: Final = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})
_LOST: Final = frozenset({Outcome.LOST, Outcome.CRASHED})


def broken_by_changes(changes: Iterable[Change], *, organization_limit: int) -> Iterator[str]:
    """Yield what the history of changes contradicts: transitions, fences, counts of attempts, limits."""
    by_execution: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_execution[change.execution_id].append(change)
        if change.is_claim:
            yield from _broken_limits(change, organization_limit)
    for execution_id, own in by_execution.items():
        yield from (f"execution {execution_id}: {problem}" for problem in _broken_life(own))


def _broken_limits(change: Change, organization_limit: int) -> Iterator[str]:
    if change.organization_id is not None and (change.in_organization or 0) > organization_limit:
        yield (
            f"organization {change.organization_id} runs {change.in_organization} executions at once, "
            f"and {organization_limit} is its limit"
        )
    if change.limit_max is not None and (change.in_limit or 0) > change.limit_max:
        yield f"limit key {change.limit_key} runs {change.in_limit} at once, and {change.limit_max} is its limit"


def _broken_life(changes: Sequence[Change]) -> Iterator[str]:
    yield from _broken_transitions(changes)
    yield from _broken_claims(changes)
    yield from _broken_endings(changes)


def _broken_transitions(changes: Sequence[Change]) -> Iterator[str]:
    status: Status | None = None
    for change in changes:
        present = change.present_status
        if present is None or present is status:
            continue
        if status is None and present is not Status.QUEUED:
            yield f"it began as {present}"
        elif status is not None and present not in TRANSITIONS[status]:
            yield f"it went from {status} to {present}"
        status = present


def _broken_claims(changes: Sequence[Change]) -> Iterator[str]:
    fence = attempt = 0
    running = False
    for change in changes:
        if change.is_claim:
            if running:
                yield f"it was claimed under fence {change.fence} while it ran under {fence}"
            if (change.fence or 0) <= fence:
                yield f"fence {change.fence} is not higher than {fence}"
            if change.attempt != attempt + 1:
                yield f"attempt {change.attempt} follows attempt {attempt}"
            fence, attempt = change.fence or 0, change.attempt or 0
        running = change.is_claim


def _broken_endings(changes: Sequence[Change]) -> Iterator[str]:
    endings: list[Status] = []
    for change in changes:
        if change.event == "reopened" and endings.pop() is not Status.FAILED:
            yield f"it left history although it had not failed ({change.status})"
        elif change.event == "ended":
            endings.append(Status(change.status))
    if len(endings) != 1:
        yield f"it has {len(endings)} ends ({', '.join(endings) or 'it never ended'})"


def broken_by_end(
    execution: Execution | None, attempts: Sequence[Attempt], shifts: Sequence[Shift], stopped_nodes: set[str]
) -> Iterator[str]:
    """Yield what the final record of one execution contradicts: its attempts, its counts, the work that was done."""
    if execution is None:
        yield "it was accepted and is gone"
    elif execution.status not in FINAL:
        yield f"it is still {execution.status}"
    else:
        yield from _broken_attempts(execution, attempts, stopped_nodes)
        yield from _broken_counts(execution, [attempt.outcome for attempt in attempts])
        completed = {shift.fence for shift in shifts if shift.completed}
        if execution.status is Status.SUCCEEDED and execution.fence not in completed:
            yield f"it succeeded under fence {execution.fence}, whose handler never completed"


def _broken_attempts(execution: Execution, attempts: Sequence[Attempt], stopped_nodes: set[str]) -> Iterator[str]:
    numbers = [attempt.number for attempt in attempts]
    if numbers != list(range(1, execution.attempt + 1)):
        yield f"its attempts are {numbers}, and it was claimed {execution.attempt} times"
    for attempt in attempts:
        if attempt.outcome is None:
            yield f"attempt {attempt.number} has no outcome"
        if attempt.outcome is Outcome.LOST and str(attempt.node_id) in stopped_nodes:
            yield f"attempt {attempt.number} was lost with a node that stopped in good order"


def _broken_counts(execution: Execution, outcomes: Sequence[Outcome | None]) -> Iterator[str]:
    lost = sum(outcome in _LOST for outcome in outcomes)
    if execution.lost_count != lost:
        yield f"lost_count is {execution.lost_count}, and {lost} attempts were lost"
    tried_again = sum(outcome in _RETRIED for outcome in outcomes[:-1])
    if execution.retry_count < tried_again:
        yield f"retry_count is {execution.retry_count}, and {tried_again} failures were tried again"
    if execution.retry_count > execution.max_retries:
        yield f"it was retried {execution.retry_count} times of {execution.max_retries}"


def broken_by_overlap(shifts: Sequence[Shift]) -> Iterator[str]:
    """Yield executions whose handlers ran at the same time: a lost lease must stop the work before it ends."""
    by_execution: defaultdict[UUID, list[Shift]] = defaultdict(list)
    for shift in shifts:
        for other in by_execution[shift.execution_id]:
            if other.obedient and (other.ended_at is None or other.ended_at > shift.started_at):
                yield (
                    f"execution {shift.execution_id} ran on {shift.node} under fence {shift.fence} from "
                    f"{shift.started_at:.3f} while {other.node} ran it under {other.fence} until {other.ended_at}"
                )
        by_execution[shift.execution_id].append(shift)
