"""What a replay does next: a few first, then at its rate, and nothing more where the same error comes back."""

from __future__ import annotations

import pytest

from mainspring.domain.replay import Progress, ReplayPlan, ReplayStatus, Step, next_step

PLAN = ReplayPlan(canary=3, per_minute=120, stop_after=2)
CANARY, RUNNING = ReplayStatus.CANARY, ReplayStatus.RUNNING


@pytest.mark.parametrize(
    ("status", "progress", "step"),
    [
        (CANARY, Progress(10), Step(CANARY, start=3, again_in=2.0)),
        (CANARY, Progress(2), Step(CANARY, start=2, again_in=2.0)),
        (CANARY, Progress(10, 3, 2), Step(CANARY, again_in=2.0)),
        (CANARY, Progress(10, 3, 2, 1), Step(RUNNING, start=4, again_in=2.0)),
        (CANARY, Progress(10, 3, 1, 2), Step(ReplayStatus.STOPPED)),
        (CANARY, Progress(10, 3, 0, 0, 3), Step(RUNNING, start=4, again_in=2.0)),
        (RUNNING, Progress(10, 7, 7), Step(RUNNING, start=3, again_in=2.0)),
        (RUNNING, Progress(10, 10, 9), Step(RUNNING, start=0, again_in=2.0)),
        (RUNNING, Progress(10, 10, 9, 1), Step(ReplayStatus.FINISHED)),
        (RUNNING, Progress(10, 8, 5, 2), Step(ReplayStatus.STOPPED)),
    ],
)
def test_the_next_step_follows_from_what_has_ended(status: ReplayStatus, progress: Progress, step: Step) -> None:
    assert next_step(PLAN, status, progress) == step


@pytest.mark.parametrize(
    ("per_minute", "start", "again_in"), [(1, 1, 60.0), (7, 1, 60 / 7), (30, 1, 2.0), (600, 20, 2.0)]
)
def test_no_more_is_started_each_minute_than_the_plan_says(per_minute: int, start: int, again_in: float) -> None:
    step = next_step(ReplayPlan(per_minute=per_minute), RUNNING, Progress(1_000, 5, 5))
    assert (step.start, step.again_in) == (start, pytest.approx(again_in))
