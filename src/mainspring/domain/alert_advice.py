"""What most likely lies behind an alert, and what to do first: from its rule and the class of the last error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertRule
from mainspring.domain.failure import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Advice:
    """What to think of first.

    Attributes:
        cause: The likely cause, one sentence.
        steps: What to do, in this order.
    """

    cause: str
    steps: tuple[str, ...]


def advice(rule: AlertRule, error_class: ErrorClass | None) -> Advice:
    """Return what to think of first; the error says more than the rule where there is one.

    Example:
        >>> advice(AlertRule.CONSECUTIVE_FAILURES, ErrorClass.TIMEOUT).cause
        'Its work takes longer than its timeout, or waits for something that does not answer.'
    """
    if rule in _TOLD_BY_ERRORS and error_class is not None:
        return _OF_ERRORS[error_class]
    return _OF_RULES[rule]


_TOLD_BY_ERRORS: Final = frozenset(
    {AlertRule.CONSECUTIVE_FAILURES, AlertRule.FAILURE_RATE, AlertRule.ANOMALY_FAILURE, AlertRule.BREAKER_OPEN}
)
_LOOK_AT_ERROR: Final = "Open the last run and read its error with the log lines before it."
_OF_ERRORS: Final[Mapping[ErrorClass, Advice]] = {
    ErrorClass.TRANSIENT: Advice(
        "Something that it calls was not reached or was overloaded.",
        ("Look whether what it calls is up.", "Let it retry, or replay the failed runs once it is."),
    ),
    ErrorClass.PERMANENT: Advice(
        "Its input or its configuration is wrong: another try fails in the same way.",
        (_LOOK_AT_ERROR, "Correct the input or the configuration, then replay the failed runs."),
    ),
    ErrorClass.TIMEOUT: Advice(
        "Its work takes longer than its timeout, or waits for something that does not answer.",
        ("Compare its last durations.", "Give what it waits for a timeout of its own, or the job a longer one."),
    ),
    ErrorClass.CANCELLED: Advice(
        "Somebody, or a program, cancels it.", ("Look in the audit who cancelled it, and why.",)
    ),
    ErrorClass.CRASH: Advice(
        "Its process ends by itself: out of memory, or a crash in native code.",
        ("Look at the memory of the node at that time.", "Run it in a child process with a memory limit."),
    ),
    ErrorClass.DEPENDENCY: Advice(
        "The service that carries it out is not reached.",
        ("Look whether the service runs and its address is right.", "Its calls go on by themselves once it answers."),
    ),
    ErrorClass.UNKNOWN: Advice(
        "Its code raised an error that nobody foresaw; often a deployment has brought it.",
        (_LOOK_AT_ERROR, "Compare its code version with that of its last success."),
    ),
}
_UNUSUAL: Final = "Compare its last run with the usual ones on the page of the job."
_SCHEDULER: Final = "Look whether a node with the scheduler role is up, and whether its schedule is paused or disabled."
_OF_RULES: Final[Mapping[AlertRule, Advice]] = {
    AlertRule.STALENESS: Advice(
        "It was not started, still runs, or has not succeeded since it was due.",
        (_SCHEDULER, "Ask why it did not run: its ticks tell what became of each instant.", "Run it now if it may."),
    ),
    AlertRule.FAILURE_RATE: Advice(
        "Part of what it works on fails.", (_LOOK_AT_ERROR, "Group its failures by fingerprint.")
    ),
    AlertRule.EXECUTION_TIME: Advice(
        "It has more to do than usual, or waits for something slow.", (_UNUSUAL, "Look at what it calls.")
    ),
    AlertRule.CONSECUTIVE_FAILURES: Advice(
        "Something that every run needs has broken.", (_LOOK_AT_ERROR, "Look at what was deployed before it began.")
    ),
    AlertRule.TOO_FAST: Advice(
        "It had nothing to do, or stopped early without an error.", ("Look at its items and its result.", _UNUSUAL)
    ),
    AlertRule.TOO_OFTEN: Advice(
        "Its schedule, or whoever triggers it, starts it more often than meant.",
        ("Look at who triggered its last runs.", "Compare its schedule with what is meant."),
    ),
    AlertRule.RESULT_ASSERTION: Advice(
        "It succeeded without doing what it is for.", ("Look at its result and its items.", "Look at its source.")
    ),
    AlertRule.NEVER_CLAIMED: Advice(
        "No worker that knows this job takes from its queue.",
        ("Look whether a worker with this version of the code is up.", "Compare its queue with what workers take."),
    ),
    AlertRule.BREAKER_OPEN: Advice(
        "What it needs failed so often that it is not called for a while.",
        ("Look at the last error.", "A probe closes the breaker by itself once it succeeds."),
    ),
    AlertRule.QUEUE_DEPTH: Advice(
        "More comes in than the workers get done.", ("Look at what fills the queue.", "Add workers for it.")
    ),
    AlertRule.QUEUE_AGE: Advice(
        "The workers of this queue are down, or busy with long runs.",
        ("Look whether workers take from it.", "Look at what runs longest."),
    ),
    AlertRule.NODE_LOST: Advice(
        "Its process ended without saying so, or is cut off from the database.",
        ("Look at the host and its log.", "What it ran starts again elsewhere by itself."),
    ),
    AlertRule.PARTITION_MISSING: Advice(
        "The database user may not make partitions, or maintenance does not run.",
        ("Run `mainspring db upgrade` as the owner of the schema.",),
    ),
    AlertRule.UNWATCHED: Advice(
        "No node was alive, or the clock of the database jumped.",
        ("Look at the ticks of that time: `mainspring jobs next` and the page of each job say what was missed.",),
    ),
    AlertRule.ANOMALY_DURATION: Advice("It has other work than usual, or waits for something slow.", (_UNUSUAL,)),
    AlertRule.ANOMALY_ITEMS: Advice("Its source has much more or much less than usual.", ("Look at its source.",)),
    AlertRule.ANOMALY_FAILURE: Advice("It fails more often than usual at this hour.", (_LOOK_AT_ERROR,)),
    AlertRule.ANOMALY_SILENCE: Advice(
        "What usually starts it at this hour has not.", (_SCHEDULER, "Look at whoever triggers it.")
    ),
    AlertRule.TREND: Advice(
        "What it works on grows.", ("Give it more time before it needs it, or make it work on less at once.",)
    ),
}
