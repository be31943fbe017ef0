"""Whether people are told of an alert now, or why not: what they were told last always agrees with how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.alert import AlertEvent, AlertRule, AlertState, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from mainspring.domain.alert import Alert
    from mainspring.domain.route import Route
    from mainspring.domain.silence import Silence

KEEPS_DEPENDANTS: Final = frozenset(
    {
        AlertRule.STALENESS,
        AlertRule.CONSECUTIVE_FAILURES,
        AlertRule.FAILURE_RATE,
        AlertRule.NEVER_CLAIMED,
        AlertRule.BREAKER_OPEN,
        AlertRule.ANOMALY_SILENCE,
    }
)
"""Rules whose breach means that a job does not do its work, so that those that run after it have nothing to do."""

SAME_JOB: Final = "same job"
"""How the reason begins for which one word for a job is enough."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides beside an alert itself.

    Attributes:
        now: The store's instant.
        silences: What is in force.
        groups: The group of each job.
        parents: The jobs that each job runs after.
        others: All alerts of jobs that are not resolved, by their job.
        cooldown: How long an alert that has ended opens again instead of a new one.
    """

    now: datetime
    silences: Sequence[Silence]
    groups: Mapping[str, str]
    parents: Mapping[str, Collection[str]]
    others: Mapping[str, list[Alert]]
    cooldown: timedelta

    def group_of(self, alert: Alert) -> str | None:
        """Return the group of an alert's job."""
        return self.groups.get(alert.job_name or "")

    def of_job(self, name: str | None) -> Sequence[Alert]:
        """Return the open alerts of a job."""
        return self.others.get(name, ()) if name is not None else ()

    def silence_over(self, alert: Alert) -> str | None:
        """Return what silences an alert, in words."""
        group = self.group_of(alert)
        for silence in self.silences:
            if silence.holds_at(self.now) and silence.covers_alert(alert, group):
                return silence.said
        return None

    def of_same_job(self, alert: Alert) -> list[Alert]:
        """Return the other open alerts of the same job that matter no less, and say no less.

        That nobody takes a job says why it is overdue, but not since when, and not that it was to run at all.
        """
        return [
            other
            for other in self.of_job(alert.job_name)
            if other.id != alert.id
            and other.severity.rank >= alert.severity.rank
            and not (alert.rule is AlertRule.STALENESS and other.rule is AlertRule.NEVER_CLAIMED)
        ]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is told, and how it stands afterwards.

    Attributes:
        event: What is told; None: nothing.
        suppressed: Why what would be told is kept and not sent.
        is_told: Whether people know from now on that it is open; None: as before.
        held_by: Why they are not told.
        next_step: Until something is to be told although nothing happens; None: never.
        escalation: Steps of its escalation that have been told.
    """

    event: AlertEvent | None = None
    suppressed: str | None = None
    is_told: bool | None = None
    held_by: str | None = None
    next_step: timedelta | None = None
    escalation: int = 0


def held_by(alert: Alert, around: Surroundings) -> str | None:
    """Return why nobody is told of an open alert; None: nothing keeps it back."""
    if alert.state is AlertState.SNOOZED:
        return "snoozed"
    if alert.state is AlertState.ACKNOWLEDGED:
        return f"acknowledged: by {alert.acknowledged_by}"
    if silence := around.silence_over(alert):
        return silence
    for parent in sorted(around.parents.get(alert.job_name or "", ())):
        for other in around.of_job(parent):
            if other.rule in KEEPS_DEPENDANTS:
                return f"parent: {parent} has an alert ({other.rule})"
    for other in around.of_same_job(alert):
        if other.told_at is not None:
            return f"{SAME_JOB}: {other.rule} is told already"
    return None


def decide(alert: Alert, event: AlertEvent | None, around: Surroundings, steps: Sequence[timedelta]) -> Decision | None:
    """Return what to tell of an alert; None: nothing, and all stays as it is.

    Args:
        alert: As it stands now.
        event: What has happened to it in this turn; None: nothing, but something is due.
        around: What decides beside it.
        steps: After how long without an acknowledgement it is escalated, ascending.
    """
    if alert.resolved_at is not None:
        return _decide_end(alert, event, around)
    if alert.told_at is None:
        return _decide_opening(alert, around, steps)
    if event is AlertEvent.REOPENED:
        return Decision(event, suppressed="cooldown: it was told to be open, and comes and goes")
    if event is AlertEvent.TAKEN_BACK:
        return Decision(next_step=_first(alert, steps))
    if event is AlertEvent.WORSENED:
        reason = None if alert.state is AlertState.ACKNOWLEDGED else held_by(alert, around)
        return Decision(event, suppressed=reason, next_step=_first(alert, steps))
    return _decide_step(alert, around, steps)


def escalates(alert: Alert) -> bool:
    """Whether an alert is of those that are escalated: critical, and nobody looks after it."""
    return alert.severity is Severity.CRITICAL and alert.state is AlertState.OPEN


def escalation_steps(alert: Alert, routes: Sequence[Route]) -> list[timedelta]:
    """Return after how long an alert is told to the next ones, ascending.

    Args:
        alert: The alert.
        routes: Those that it fits.
    """
    return sorted({route.after for route in routes if route.after}) if escalates(alert) else []


def _decide_opening(alert: Alert, around: Surroundings, steps: Sequence[timedelta]) -> Decision | None:
    reason = held_by(alert, around)
    said = AlertEvent.REOPENED if alert.reopened else AlertEvent.OPENED
    if reason is None:
        return Decision(said, is_told=True, next_step=_first(alert, steps))
    return None if reason == alert.held_by else Decision(said, suppressed=reason, held_by=reason)


def _first(alert: Alert, steps: Sequence[timedelta]) -> timedelta | None:
    return steps[0] if steps and escalates(alert) else None


def _decide_step(alert: Alert, around: Surroundings, steps: Sequence[timedelta]) -> Decision | None:
    if alert.next_step_at is None or alert.next_step_at > around.now:
        return None
    done = alert.escalation
    if done >= len(steps):
        return Decision()
    further = steps[done + 1] - steps[done] if done + 1 < len(steps) else None
    reason = around.silence_over(alert)
    return Decision(AlertEvent.ESCALATED, suppressed=reason, next_step=further, escalation=done + 1)


def _decide_end(alert: Alert, event: AlertEvent | None, around: Surroundings) -> Decision | None:
    if alert.told_at is None:
        return Decision() if alert.next_step_at is not None else None
    if event is AlertEvent.RESOLVED and alert.reopened and alert.resolved_by is None:
        # Whoever was told that it is open learns of its end once it stays away.
        return Decision(next_step=around.cooldown)
    if reason := around.silence_over(alert):
        return Decision(AlertEvent.RESOLVED, suppressed=reason, is_told=False)
    if others := around.of_same_job(alert):
        return Decision(AlertEvent.RESOLVED, suppressed=f"{SAME_JOB}: {others[0].rule} goes on", is_told=False)
    return Decision(AlertEvent.RESOLVED, is_told=False)
