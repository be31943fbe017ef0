"""Judges what survived chaos: the ledger of the handlers beside what `mainspring dump` says of the store."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.execution import FINAL, Outcome, Status
from mainspring.domain.retry_decision import MAX_LOST
from tests.cluster.ledger import Run, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


NOTICE_SECONDS: Final = 1.0
"""How long a thawed node may take to see that what it ran is no longer its own."""
_GIVES_BACK: Final = frozenset(
    {Outcome.LOST.value, Outcome.CRASHED.value, Outcome.INTERRUPTED.value, Outcome.FAILED.value}
)
"""The outcomes after which an execution may have another attempt."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The end of a node by `kill -9`."""

    node: str
    at: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """A node that stood still, from its SIGSTOP to its SIGCONT."""

    node: str
    since: float
    until: float


@dataclass(slots=True)
class Facts:
    """What the judge is told besides the ledger and the store.

    Attributes:
        accepted: Executions whose acceptance was acknowledged.
        unanswered: How many batches were asked for with no answer: they may or may not have been accepted.
        kills: The nodes that were killed.
        freezes: The nodes that were frozen for longer than their lease.
        restarts: When the database stopped at once, and when it answered again.
        started_again: How many nodes found no database when they started, ended, and were started again.
    """

    accepted: set[str] = field(default_factory=set[str])
    unanswered: int = 0
    kills: list[Kill] = field(default_factory=list[Kill])
    freezes: list[Freeze] = field(default_factory=list[Freeze])
    restarts: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    started_again: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """How long what a kill had cut waited: until a node took it again, and until its handler began again."""

    claimed: float
    begun: float


@dataclass(slots=True)
class Verdict:
    """What the judge found.

    Attributes:
        runs: The attempts by their begin.
        executions: How many executions the store has.
        succeeded: How many of them have succeeded.
        poisonous: How many were given up because three attempts were lost (contract §1).
        effects_twice: How many were done more than once: what no queue can prevent, and what a fence is for.
        lost: How many attempts were lost.
        lost_unbegun: How many of those had not begun: nothing of theirs can have ended a node.
        recoveries: Seconds from each kill to the next claim, and to the next begin, of what it cut.
        problems: Whatever contradicts the claim.
    """

    runs: list[Run]
    executions: int = 0
    succeeded: int = 0
    poisonous: int = 0
    effects_twice: int = 0
    lost: int = 0
    lost_unbegun: int = 0
    recoveries: list[Recovery] = field(default_factory=list[Recovery])
    problems: list[str] = field(default_factory=list[str])


def judge(folder: Path, dumped: Iterable[dict[str, Any]], facts: Facts) -> Verdict:
    """Read the ledger of a folder beside the store, and say what contradicts the claim.

    Args:
        folder: Where the handlers wrote.
        dumped: The records of `mainspring dump`.
        facts: What was done to the nodes and to the database.
    """
    executions: dict[str, dict[str, Any]] = {}
    attempts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in dumped:
        if record["kind"] == "execution":
            executions[record["id"]] = record
        elif record["kind"] == "attempt":
            attempts[record["executionId"]].append(record)
    verdict = Verdict(read(folder, {kill.node: kill.at for kill in facts.kills}), executions=len(executions))
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    for run in verdict.runs:
        runs[run.execution].append(run)
    problems = verdict.problems
    problems += (f"{lost} was accepted and is gone" for lost in sorted(facts.accepted - executions.keys()))
    problems += (
        f"{stray} ran and the store has never heard of it" for stray in sorted(runs.keys() - executions.keys())
    )
    for execution_id, execution in executions.items():
        problems += _of_its_end(execution, attempts[execution_id], runs[execution_id])
        problems += _of_its_attempts(execution_id, attempts[execution_id], runs[execution_id])
        problems += _of_overlaps(runs[execution_id], facts)
        verdict.succeeded += execution["status"] == Status.SUCCEEDED.value
        verdict.poisonous += execution["lostCount"] >= MAX_LOST
        verdict.effects_twice += _effects(execution, runs[execution_id]) > 1
        verdict.recoveries += _recoveries(attempts[execution_id], runs[execution_id], facts)
        lost = {attempt["attempt"] for attempt in attempts[execution_id] if attempt["outcome"] == Outcome.LOST.value}
        verdict.lost += len(lost)
        verdict.lost_unbegun += len(lost - {run.attempt for run in runs[execution_id]})
    return verdict


def _effects(execution: dict[str, Any], runs: Sequence[Run]) -> int:
    """Return how often the work was done; the first attempt at an unsteady job is undone by its error."""
    undone = 1 if execution["jobType"] == "unsteady" else 0
    return sum(run.is_done and run.attempt > undone for run in runs)


def _of_its_end(execution: dict[str, Any], attempts: Sequence[dict[str, Any]], runs: Sequence[Run]) -> list[str]:
    """An execution ends once: it succeeds by its last attempt alone, or is given up for a reason of the contract."""
    name, status = execution["id"], execution["status"]
    if Status(status) not in FINAL:
        return [f"{name} is {status}, and all nodes had time to end it"]
    if status != Status.SUCCEEDED.value:
        is_given_up = execution["messageCode"] == "POISON" or execution["lostCount"] >= MAX_LOST
        return [] if is_given_up else [f"{name} is {status}: {execution['errorMessage']}"]
    successes = [attempt["attempt"] for attempt in attempts if attempt["outcome"] == Outcome.SUCCEEDED.value]
    if successes != [attempts[-1]["attempt"]]:
        return [f"{name} has succeeded by attempts {successes} of {len(attempts)}: the last one alone may"]
    if not any(run.is_done and run.attempt == successes[0] for run in runs):
        return [f"{name} has succeeded by attempt {successes[0]}, and its handler did not come to its end"]
    return []


def _of_its_attempts(name: str, attempts: Sequence[dict[str, Any]], runs: Sequence[Run]) -> list[str]:
    """Attempts are numbered without a gap, each has an outcome and a higher fence, and none ran unrecorded."""
    problems: list[str] = []
    if [attempt["attempt"] for attempt in attempts] != list(range(1, len(attempts) + 1)):
        problems.append(f"{name} has attempts {[attempt['attempt'] for attempt in attempts]}")
    for attempt, following in pairwise(attempts):
        if attempt["outcome"] not in _GIVES_BACK:
            problems.append(f"attempt {attempt['attempt']} at {name} is {attempt['outcome']}, and another one followed")
        if attempt["fence"] >= following["fence"]:
            problems.append(f"attempt {following['attempt']} at {name} has no higher fence than the one before")
    if attempts and attempts[-1]["outcome"] is None:
        problems.append(f"the last attempt at {name} has no outcome")
    recorded = {(attempt["attempt"], attempt["fence"]) for attempt in attempts}
    problems += (
        f"attempt {run.attempt} at {name} ran with fence {run.fence}, and is not recorded"
        for run in runs
        if (run.attempt, run.fence) not in recorded
    )
    return problems


def _of_overlaps(runs: Sequence[Run], facts: Facts) -> list[str]:
    """Two attempts run at once only where the first one's node was frozen, and until it sees that after its thaw."""
    problems: list[str] = []
    for run, following in pairwise(runs):
        if run.end is None:
            problems.append(f"attempt {run.attempt} at {run.execution} began on {run.node} and never ended")
        elif following.begin < run.end and not _was_frozen(run, facts.freezes):
            overlap = run.end - following.begin
            problems.append(
                f"attempts {run.attempt} and {following.attempt} at {run.execution} overlap {overlap:.2f} s"
            )
    return problems


def _was_frozen(run: Run, freezes: Iterable[Freeze]) -> bool:
    return run.end is not None and any(
        freeze.node == run.node and freeze.until >= run.begin and run.end <= freeze.until + NOTICE_SECONDS
        for freeze in freezes
    )


def _recoveries(attempts: Sequence[dict[str, Any]], runs: Sequence[Run], facts: Facts) -> list[Recovery]:
    """Return how long what a kill cut waited for its next attempt, where the database was there all the time."""
    claims = {attempt["attempt"]: datetime.fromisoformat(attempt["startedAt"]).timestamp() for attempt in attempts}
    recoveries: list[Recovery] = []
    for run, following in pairwise(runs):
        if not run.is_cut or run.end is None or _was_stopped(facts, run.end, following.begin):
            continue
        claimed = min(at for number, at in claims.items() if number > run.attempt)
        recoveries.append(Recovery(max(0.0, claimed - run.end), following.begin - run.end))
    return recoveries


def _was_stopped(facts: Facts, since: float, until: float) -> bool:
    return any(stopped < until and since < answered for stopped, answered in facts.restarts)
