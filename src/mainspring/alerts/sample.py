"""Messages before anything is wrong: of an alert as there could be one, and of a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

from mainspring.alerts.alert_message import Story, alert_message
from mainspring.domain.alert import Alert, AlertEvent, AlertRule, AlertState, Severity
from mainspring.domain.notification import Message

if TYPE_CHECKING:
    from mainspring.alerts.templates import Templates
    from mainspring.settings import Settings

_OPENED: Final = datetime(2026, 11, 22, 9, 5, tzinfo=UTC)
_ID: Final = UUID("01a201ed-4cfe-7a4c-950b-389f5b3f087b")


def sample_message(
    event: AlertEvent, templates: Templates, *, channel: str, job_name: str, public_url: str | None
) -> Message:
    """Return what would be told of an event, as the templates have it.

    Args:
        event: Which event.
        templates: Those of the deployment.
        channel: For which kind of channel.
        job_name: Of which job.
        public_url: Where people reach the dashboard.

    Raises:
        ConfigurationError: A template names something that there is not.
    """
    is_over = event is AlertEvent.RESOLVED
    now = _OPENED + timedelta(minutes=30)
    alert = Alert(
        id=_ID,
        environment="production",
        rule=AlertRule.STALENESS,
        subject=job_name,
        job_name=job_name,
        severity=Severity.CRITICAL,
        state=AlertState.RESOLVED if is_over else AlertState.OPEN,
        sentence=f"{job_name} was due 35 min ago and has not succeeded since: 5 min is its own threshold",
        figures={"dueAt": "2026-11-22T09:00:00.000Z", "thresholdSeconds": 300},
        occurrences=1,
        execution_id=_ID,
        fingerprint=None,
        opened_at=_OPENED,
        last_seen_at=now,
        resolved_at=now if is_over else None,
    )
    last = _OPENED - timedelta(minutes=65)
    story = Story(now, last_run_at=last, last_success_at=last + timedelta(seconds=4), public_url=public_url)
    message = alert_message(alert, event, story)
    return templates.apply(message, event, channel=channel, job_name=job_name, facts={"alert": alert})


def message_of_a_test(settings: Settings, why: str) -> Message:
    """Return the message by which people see whether a channel works.

    Args:
        settings: What it says of this installation.
        why: Who wanted it, and how, as part of its sentence.
    """
    return Message(
        "Test message",
        f"This channel works: {why}.",
        fields={"Environment": settings.environment, "Node": settings.node},
        link=settings.public_url,
        event="test",
    )


def check_templates(templates: Templates) -> None:
    """Return if every template can be filled in with a sample.

    Raises:
        ConfigurationError: One names something that there is not, or does what it may not.
    """
    for path in templates.sources:
        *folders, name = path.split("/")
        channel, job_name = "slack", "weekly-digest"
        if folders[:1] == ["jobs"]:
            job_name = folders[1] if len(folders) > 1 else job_name
            folders = folders[2:]
        event = AlertEvent(name.partition(".")[0])
        sample_message(event, templates, channel=folders[0] if folders else channel, job_name=job_name, public_url=None)
