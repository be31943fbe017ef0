"""The judge of simulations sees each thing that must never happen; else fifty quiet seeds would say nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from mainspring.domain.execution import Attempt, Execution, Outcome, Stage, Status, Trigger
from mainspring.testing.simulation.invariants import broken_by_changes, broken_by_end, broken_by_overlap
from mainspring.testing.simulation.witness import Change, Shift
from mainspring.testing.simulation.world import START
from mainspring.world import uuid7

ID = uuid7(0, 1)


def change(event: str, **fields: Any) -> Change:
    given: dict[str, Any] = {"execution_id": "x", "event": event} | fields
    return Change(*(given.get(field.name) for field in dataclasses.fields(Change)))  # pyright: ignore[reportArgumentType]


def queued(**fields: Any) -> Change:
    return change("accepted", **({"stage": Stage.READY, "retrying": 0} | fields))


def claimed(fence: int, attempt: int, **fields: Any) -> Change:
    return change("changed", stage=Stage.RUNNING, retrying=0, fence=fence, attempt=attempt, **fields)


def released(*, retrying: bool = True) -> Change:
    return change("changed", stage=Stage.READY, retrying=int(retrying))


def ended(status: Status = Status.SUCCEEDED) -> Change:
    return change("ended", status=status.value)


GOOD = [queued(), claimed(1, 1), released(), claimed(2, 2), ended()]
RETRIED = [queued(), claimed(1, 1), ended(Status.FAILED), change("reopened", status="failed"), queued()]


def problems_of(changes: list[Change]) -> list[str]:
    return list(broken_by_changes(changes, organization_limit=2))


def test_a_good_life_is_not_complained_of() -> None:
    assert problems_of(GOOD) == []
    assert problems_of([*RETRIED, claimed(2, 2), ended()]) == []
    assert problems_of([queued(), claimed(1, 1, limit_key="k", in_limit=9, limit_max=None), ended()]) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([queued(), ended()], "from queued to succeeded"),
        ([queued(), claimed(1, 1), ended(), queued(), claimed(2, 2), ended()], "from succeeded to queued"),
        ([claimed(1, 1), ended()], "began as running"),
        ([queued(), claimed(2, 1), released(), claimed(1, 2), ended()], "fence 1 is not higher than 2"),
        ([queued(), claimed(1, 1), released(), claimed(1, 2), ended()], "fence 1 is not higher than 1"),
        ([queued(), claimed(1, 1), claimed(2, 2), ended()], "claimed under fence 2 while it ran under 1"),
        ([queued(), claimed(1, 1), released(), claimed(2, 3), ended()], "attempt 3 follows attempt 1"),
        ([queued(), claimed(1, 1)], "it never ended"),
        ([queued(), claimed(1, 1), ended(), ended()], "it has 2 ends"),
        ([queued(), claimed(1, 1), ended(), change("reopened", status="succeeded")], "it had not failed"),
        ([queued(), claimed(1, 1, organization_id="o", in_organization=3), ended()], "2 is its limit"),
        ([queued(), claimed(1, 1, limit_key="k", in_limit=2, limit_max=1), ended()], "1 is its limit"),
    ],
)
def test_a_broken_life_is(changes: list[Change], told: str) -> None:
    assert told in " ".join(problems_of(changes))


EXECUTION = Execution(
    id=ID,
    environment="simulation",
    job_name="plain",
    queue="default",
    status=Status.SUCCEEDED,
    priority=0,
    payload=None,
    trigger=Trigger.SYSTEM,
    created_at=START,
    updated_at=START,
    attempt=2,
    retry_count=1,
    max_retries=3,
    fence=5,
)


def attempt(number: int, outcome: Outcome | None, node: int = 1) -> Attempt:
    return Attempt(ID, number, number, uuid7(0, node), None, None, outcome)


ATTEMPTS = [attempt(1, Outcome.FAILED), attempt(2, Outcome.SUCCEEDED)]
WORK = Shift(ID, fence=5, node="node-0", started_at=1.0, ended_at=2.0, completed=True)


def test_a_good_record_is_not_complained_of() -> None:
    assert list(broken_by_end(EXECUTION, ATTEMPTS, [WORK], set())) == []


@pytest.mark.parametrize(
    ("execution", "attempts", "shifts", "told"),
    [
        (None, [], [], "is gone"),
        (replace(EXECUTION, status=Status.RUNNING), ATTEMPTS, [WORK], "still running"),
        (EXECUTION, ATTEMPTS[1:], [WORK], "its attempts are [2]"),
        (EXECUTION, [attempt(1, None), ATTEMPTS[1]], [WORK], "has no outcome"),
        (EXECUTION, [attempt(1, Outcome.LOST), ATTEMPTS[1]], [WORK], "lost_count is 0, and 1"),
        (EXECUTION, [attempt(1, Outcome.LOST, node=9), ATTEMPTS[1]], [WORK], "stopped in good order"),
        (replace(EXECUTION, retry_count=0), ATTEMPTS, [WORK], "retry_count is 0, and 1"),
        (replace(EXECUTION, retry_count=4), ATTEMPTS, [WORK], "retried 4 times of 3"),
        (EXECUTION, ATTEMPTS, [replace(WORK, completed=False)], "never completed"),
        (EXECUTION, ATTEMPTS, [replace(WORK, fence=4)], "never completed"),
    ],
)
def test_a_broken_record_is(
    execution: Execution | None, attempts: list[Attempt], shifts: list[Shift], told: str
) -> None:
    stopped = {str(uuid7(0, 9))}
    assert told in " ".join(broken_by_end(execution, attempts, shifts, stopped))


def test_work_on_two_nodes_at_once_is_seen() -> None:
    again = Shift(ID, fence=6, node="node-1", started_at=1.5, ended_at=3.0)
    assert list(broken_by_overlap([WORK, replace(again, started_at=2.0)])) == []
    assert "while node-0 ran it" in " ".join(broken_by_overlap([WORK, again]))
    assert list(broken_by_overlap([replace(WORK, obedient=False), again])) == []
