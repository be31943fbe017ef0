"""What is told of an alert: what, since when, how often, why most likely, what to do, and where to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mainspring.domain import notification
from mainspring.domain.alert import AlertEvent, AlertRule, AlertState
from mainspring.domain.alert_advice import advice
from mainspring.domain.english import in_words, precise
from mainspring.domain.failure import ErrorClass
from mainspring.domain.instants import instant_text
from mainspring.domain.notification import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from mainspring.domain.alert import Alert
    from mainspring.domain.execution import Execution

_SAID: Final[Mapping[AlertRule, str]] = {
    AlertRule.STALENESS: "is overdue",
    AlertRule.FAILURE_RATE: "fails too often",
    AlertRule.EXECUTION_TIME: "takes too long",
    AlertRule.CONSECUTIVE_FAILURES: "keeps failing",
    AlertRule.TOO_FAST: "ended too fast",
    AlertRule.TOO_OFTEN: "runs too often",
    AlertRule.RESULT_ASSERTION: "succeeded with a result that cannot be right",
    AlertRule.NEVER_CLAIMED: "is not started by any worker",
    AlertRule.BREAKER_OPEN: "is not called any more",
    AlertRule.QUEUE_DEPTH: "holds too much",
    AlertRule.QUEUE_AGE: "is not worked off",
    AlertRule.NODE_LOST: "was lost",
    AlertRule.PARTITION_MISSING: "has no partition for what comes next",
    AlertRule.UNWATCHED: "were not watched for a while",
    AlertRule.ANOMALY_DURATION: "took unusually long",
    AlertRule.ANOMALY_ITEMS: "did an unusual amount of work",
    AlertRule.ANOMALY_FAILURE: "fails unusually often",
    AlertRule.ANOMALY_SILENCE: "is unusually silent",
    AlertRule.TREND: "gets slower and slower",
}
_NAMED: Final[Mapping[AlertRule, str]] = {
    AlertRule.BREAKER_OPEN: "service {}",
    AlertRule.QUEUE_DEPTH: "queue {}",
    AlertRule.QUEUE_AGE: "queue {}",
    AlertRule.NODE_LOST: "node {}",
    AlertRule.PARTITION_MISSING: "the history",
    AlertRule.UNWATCHED: "the jobs",
}
"""How what is no job is called."""
_UNITS: Final = {"Seconds": timedelta(seconds=1), "Ms": timedelta(milliseconds=1)}
"""How the name of a figure ends that is a span."""
_HELD_BACK: Final = "is held back by its breaker"
_MOST_OF_AN_ERROR: Final = 500
_MOST_OTHERS: Final = 5


@dataclass(frozen=True, slots=True)
class Story:
    """What is known when an alert is told.

    Attributes:
        now: The store's instant.
        last_run_at: When the job last ran.
        last_success_at: When it last succeeded.
        running_since: Since when it runs, if it does.
        execution: The run that shows it best.
        others: Other open alerts of the same job.
        public_url: Where people reach the dashboard.
    """

    now: datetime
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None
    running_since: datetime | None = None
    execution: Execution | None = None
    others: Sequence[Alert] = ()
    public_url: str | None = None


def alert_message(alert: Alert, event: AlertEvent, story: Story) -> Message:
    """Return what is told of something that happened to an alert, the same for every channel.

    Args:
        alert: As it stands now.
        event: What happened.
        story: What else is known.
    """
    links = links_of(alert, story.public_url)
    return Message(
        title=title_of(alert, event),
        text=_text(alert, event, story),
        severity=notification.Severity.INFO
        if event is AlertEvent.RESOLVED
        else notification.Severity(alert.severity.value),
        fields=_fields(alert, event, story),
        link=links.get("run") or links.get("schedule") or story.public_url,
        deduplication_key=alert.deduplication_key,
        event=f"alert.{event}",
        data=_data(alert, event, story, links),
        links=links,
    )


def title_of(alert: Alert, event: AlertEvent) -> str:
    """Return one line."""
    said = _said_of(alert)
    match event:
        case AlertEvent.RESOLVED:
            return f"Over: {said}"
        case AlertEvent.ESCALATED:
            return f"Nobody looks after it: {said}"
        case AlertEvent.REOPENED:
            return f"Again: {said}"
        case AlertEvent.ACKNOWLEDGED:
            return f"Acknowledged: {said}"
        case AlertEvent.SNOOZED:
            return f"Snoozed: {said}"
        case _:
            return said


def _said_of(alert: Alert) -> str:
    """Return what is wrong with what, in a few words."""
    if alert.job_name is None:
        return f"{_NAMED.get(alert.rule, '{}').format(alert.subject)} {_SAID[alert.rule]}"
    return f"{alert.job_name} {_HELD_BACK if alert.rule is AlertRule.BREAKER_OPEN else _SAID[alert.rule]}"


def links_of(alert: Alert, public_url: str | None) -> dict[str, str]:
    """Return where to look, by what is seen there."""
    if public_url is None:
        return {}
    base = public_url.rstrip("/")
    links: dict[str, str] = {}
    if alert.execution_id is not None:
        links["run"] = f"{base}/ui/runs/{alert.execution_id}"
    if alert.job_name is not None:
        links["schedule"] = f"{base}/ui/schedules/{quote(alert.job_name, safe='')}"
    asked = "" if alert.job_name is None else f"?job={quote(alert.job_name, safe='')}"
    links["alerts"] = f"{base}/ui/alerts{asked}"
    return links


def error_in(execution: Execution | None) -> Mapping[str, Any]:
    """Return the error of a run as it is stored; empty: it has none."""
    return (execution.error if execution is not None else None) or {}


def _text(alert: Alert, event: AlertEvent, story: Story) -> str:
    if event is AlertEvent.RESOLVED:
        who = f"{alert.resolved_by} says that it is over" if alert.resolved_by else "It is over"
        lasted = in_words((alert.resolved_at or story.now) - alert.opened_at)
        text = f"{who}, after {lasted}. It was seen {_times(alert.occurrences)}.\nIt was: {alert.sentence}"
        return text + (f"\n\nStill open for this job: {_rules_of(story.others)}" if story.others else "")
    think = advice(alert.rule, _class_of(error_in(story.execution)))
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(think.steps, start=1))
    parts = [alert.sentence, f"Likely cause: {think.cause}", f"Next steps:\n{steps}"]
    if story.others:
        parts.append(f"Also open for this job: {_rules_of(story.others)}")
    return "\n\n".join(parts)


def _rules_of(others: Sequence[Alert]) -> str:
    rules = list(dict.fromkeys(other.rule.replace("_", " ") for other in others))
    return ", ".join(rules[:_MOST_OTHERS])


def _fields(alert: Alert, event: AlertEvent, story: Story) -> dict[str, str]:
    error = error_in(story.execution)
    told: dict[str, str | None] = {
        "Job": alert.job_name,
        "Subject": None if alert.job_name else alert.subject,
        "Rule": alert.rule.value,
        "Severity": alert.severity.value,
        "Since": instant_text(alert.opened_at),
        "Until": instant_text(alert.resolved_at) if event is AlertEvent.RESOLVED else None,
        "How often": _times(alert.occurrences),
        "Acknowledged by": alert.acknowledged_by,
        "Snoozed until": instant_text(alert.snoozed_until) if alert.state is AlertState.SNOOZED else None,
        "Running since": instant_text(story.running_since),
        "Last run": _last_run(alert, story),
        "Last success": _or_never(alert, story.last_success_at),
        "Error": _error_in_words(error),
        "Fingerprint": alert.fingerprint or error.get("fingerprint"),
        "Environment": alert.environment,
    }
    fields = {name: text for name, text in told.items() if text}
    figures = (_figure(name, value) for name, value in alert.figures.items() if value is not None)
    return fields | dict(figures)


def _data(alert: Alert, event: AlertEvent, story: Story, links: Mapping[str, str]) -> dict[str, Any]:
    error = error_in(story.execution)
    return {
        "alertId": str(alert.id),
        "event": event.value,
        "rule": alert.rule.value,
        "subject": alert.subject,
        "jobName": alert.job_name,
        "severity": alert.severity.value,
        "state": alert.state.value,
        "sentence": alert.sentence,
        "figures": dict(alert.figures),
        "occurrences": alert.occurrences,
        "openedAt": instant_text(alert.opened_at),
        "resolvedAt": instant_text(alert.resolved_at),
        "runningSince": instant_text(story.running_since),
        "lastRunAt": instant_text(story.last_run_at),
        "lastSuccessAt": instant_text(story.last_success_at),
        "executionId": None if alert.execution_id is None else str(alert.execution_id),
        "fingerprint": alert.fingerprint or error.get("fingerprint"),
        "environment": alert.environment,
        "links": dict(links),
    }


def _class_of(error: Mapping[str, Any]) -> ErrorClass | None:
    try:
        return ErrorClass(error["class"])
    except (KeyError, ValueError):
        return None


def _error_in_words(error: Mapping[str, Any]) -> str | None:
    if not error:
        return None
    return f"{error.get('type', 'Error')}: {error.get('message', '')}"[:_MOST_OF_AN_ERROR]


def _last_run(alert: Alert, story: Story) -> str | None:
    """Return when the job last ran; while its first run is under way, that it never did would mislead."""
    if story.last_run_at is None and story.running_since is not None:
        return None
    return _or_never(alert, story.last_run_at)


def _or_never(alert: Alert, at: datetime | None) -> str | None:
    if alert.job_name is None:
        return None
    return instant_text(at) or "never"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _label(name: str) -> str:
    """Return the name of a figure for people.

    Example:
        >>> _label("lastRunAt"), _label("due_at")
        ('Last run at', 'Due at')
    """
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.replace("_", " "))
    return words.strip().capitalize()


def _figure(name: str, value: object) -> tuple[str, str]:
    """Return the name and the value of a figure for people.

    Example:
        >>> _figure("oldestSeconds", 70), _figure("waiting", 10_001)
        (('Oldest', '1 min 10 s'), ('Waiting', '10,001'))
    """
    unit = next((unit for unit in _UNITS if name.endswith(unit)), None)
    match value:
        case int() | float() if unit is not None:
            return _label(name.removesuffix(unit)), precise(value * _UNITS[unit])
        case float():
            return _label(name), f"{value:g}"
        case int():
            return _label(name), f"{value:,}"
        case _:
            return _label(name), str(value)
