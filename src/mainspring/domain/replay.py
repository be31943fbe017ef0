"""Fix and replay: run again what failed with one error, a few first, then at a rate, and stop where it fails again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

LOOK_SECONDS: Final = 2.0
"""How often a replay is looked at while it has something under way."""
MOST_REPLAYED: Final = 100_000
"""How many executions one replay runs again at most; what is left over is for the next one."""


class ReplayStatus(StrEnum):
    """How far a replay has come."""

    CANARY = "canary"
    """A few have been started, whose ends decide."""
    RUNNING = "running"
    FINISHED = "finished"
    """Every execution has been run again, and has ended."""
    STOPPED = "stopped"
    """The same error came back."""
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether it starts nothing any more."""
        return self not in {ReplayStatus.CANARY, ReplayStatus.RUNNING}


class ReplayOutcome(StrEnum):
    """How an execution ended when it was run again."""

    SUCCEEDED = "succeeded"
    SAME = "same"
    """It failed with the same fingerprint."""
    OTHERWISE = "otherwise"
    """It failed with another one, was cancelled or skipped."""


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How a replay goes about it.

    Attributes:
        canary: How many are run first, at least 1; the others follow once all of these have ended.
        per_minute: How many are started each minute afterwards, at least 1.
        stop_after: After how many failures with the same fingerprint nothing more is started, at least 1.
    """

    canary: int = 5
    per_minute: int = 60
    stop_after: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """What has become of the executions of a replay.

    Attributes:
        requested: How many there are.
        started: How many have been run again.
    """

    requested: int
    started: int = 0
    succeeded: int = 0
    failed_same: int = 0
    failed_otherwise: int = 0

    @property
    def ended(self) -> int:
        """How many of those started have ended."""
        return self.succeeded + self.failed_same + self.failed_otherwise


@dataclass(frozen=True, slots=True)
class Step:
    """What a replay does next.

    Attributes:
        status: Its status from now on.
        start: How many executions it starts now.
        again_in: Seconds until it is looked at again; None: it is over.
    """

    status: ReplayStatus
    start: int = 0
    again_in: float | None = None


def next_step(plan: ReplayPlan, status: ReplayStatus, progress: Progress) -> Step:
    """Return what a replay does when it is looked at.

    Example:
        >>> next_step(ReplayPlan(canary=2), ReplayStatus.CANARY, Progress(requested=10)).start
        2
    """
    if progress.failed_same >= plan.stop_after:
        return Step(ReplayStatus.STOPPED)
    if progress.ended >= progress.requested:
        return Step(ReplayStatus.FINISHED)
    left = progress.requested - progress.started
    if status is ReplayStatus.CANARY and progress.started < min(plan.canary, progress.requested):
        return Step(status, start=min(plan.canary - progress.started, left), again_in=LOOK_SECONDS)
    if status is ReplayStatus.CANARY and progress.ended < progress.started:
        return Step(status, again_in=LOOK_SECONDS)
    again_in = max(LOOK_SECONDS, 60 / plan.per_minute) if left else LOOK_SECONDS
    return Step(
        ReplayStatus.RUNNING, start=min(left, math.floor(plan.per_minute * again_in / 60 + 1e-9)), again_in=again_in
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay, as the store keeps it.

    Attributes:
        code_version: Only what this version of the application had failed at; None: any.
        failed_from: Only what failed at or after this instant.
        failed_until: Only what failed before this instant.
        ended_by: Who cancelled it.
    """

    id: UUID
    environment: str
    job_name: str
    fingerprint: str
    code_version: str | None
    failed_from: datetime | None
    failed_until: datetime | None
    plan: ReplayPlan
    status: ReplayStatus
    progress: Progress
    created_by: str
    reason: str | None
    ended_by: str | None
    created_at: datetime
    ended_at: datetime | None
