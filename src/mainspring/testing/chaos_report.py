"""What became of a job that was killed at each of its points."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Status

if TYPE_CHECKING:
    from collections.abc import Sequence


_WAY_OUT: Final = (
    "What it does after a checkpoint is done again by the next attempt: make it idempotent (with ctx.execution_id as "
    "its key), or write it in one transaction with what says that it is done"
)


class Moment(Enum):
    """Where in its run a job is killed."""

    BEGIN = auto()
    BEFORE_CHECKPOINT = auto()
    AFTER_CHECKPOINT = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class KillPoint:
    """One instant at which a job can lose its worker.

    Attributes:
        moment: Which kind.
        checkpoint: The number of the checkpoint, from 1, where it is at one.
    """

    moment: Moment
    checkpoint: int = 0

    def __str__(self) -> str:
        """Say when, in words."""
        match self.moment:
            case Moment.BEGIN:
                return "before its first line"
            case Moment.BEFORE_CHECKPOINT:
                return f"just before checkpoint {self.checkpoint} was kept"
            case Moment.AFTER_CHECKPOINT:
                return f"just after checkpoint {self.checkpoint} was kept"
            case Moment.END:
                return "after its last line, before its end was kept"


@dataclass(frozen=True, slots=True)
class Trial:
    """One run in which the job was killed, and run again.

    Attributes:
        point: Where it was killed.
        effects: What it left in the end.
        status: How its execution ended.
        is_same: Whether it succeeded, and left the same as an undisturbed run.
    """

    point: KillPoint
    effects: object
    status: Status
    is_same: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a job that was killed at each point.

    Attributes:
        job: Its name.
        effects: What an undisturbed run leaves.
        checkpoints: How many checkpoints that run kept.
        trials: One for each point, in the order of the run.
    """

    job: str
    effects: object
    checkpoints: int
    trials: Sequence[Trial]

    @property
    def differing(self) -> list[Trial]:
        """The trials that did not end as the undisturbed run."""
        return [trial for trial in self.trials if not trial.is_same]

    def assert_same(self) -> None:
        """Fail the test unless every trial ended as the undisturbed run.

        Raises:
            AssertionError: Some did not; the message names each point, and what was left there.
        """
        if self.differing:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        """Say at which points the effects differ, and what to do."""
        if not self.differing:
            return f"job {self.job!r} ends alike, wherever it is killed ({len(self.trials)} points)"
        lines = [f"  killed {trial.point}: {trial.effects!r}{_ended(trial)}" for trial in self.differing]
        told = (
            f"job {self.job!r} does not end alike when it is killed and run again, at {len(lines)} of "
            f"{len(self.trials)} points; undisturbed it leaves {self.effects!r}"
        )
        return "\n".join([told, *lines, _WAY_OUT])


def _ended(trial: Trial) -> str:
    return "" if trial.status is Status.SUCCEEDED else f", and it {trial.status}"
