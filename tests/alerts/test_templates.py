"""Messages that people change without code: the nearest template, checked at the start, in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.alerts.sample import sample_message
from mainspring.domain.alert import AlertEvent, Severity
from mainspring.errors import ConfigurationError
from mainspring.settings import load_settings
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from pathlib import Path


def told(folder: Path, event: AlertEvent = AlertEvent.OPENED, *, channel: str = "slack", job: str = "digest") -> str:
    telling = NotificationSettings.of(load_settings(templates=str(folder)), RealWorld())
    message = sample_message(event, telling.templates, channel=channel, job_name=job, public_url=None)
    return f"{message.title}|{message.text}"


def write(folder: Path, **templates: str) -> None:
    for name, text in templates.items():
        path = folder.joinpath(*name.split("__")[:-1], name.split("__")[-1].replace("_", ".") + ".j2")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_the_nearest_template_is_taken_and_the_rest_stays_as_it_is(tmp_path: Path) -> None:
    write(
        tmp_path,
        opened_title="{{ message.title }}\n!",
        slack__opened_text="for slack: {{ alert.figures.dueAt }}",
        jobs__digest__opened_text="for the digest",
        jobs__digest__email__opened_text="for the digest by mail",
    )
    assert told(tmp_path) == "digest is overdue !|for the digest"
    assert told(tmp_path, channel="email") == "digest is overdue !|for the digest by mail"
    assert told(tmp_path, job="other") == "other is overdue !|for slack: 2026-11-22T09:00:00.000Z"
    assert told(tmp_path, job="other", channel="email").startswith("other is overdue !|other was due 35 min ago")
    assert told(tmp_path, AlertEvent.RESOLVED).startswith("Over: digest is overdue")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("opened_text", "{% if %}", "opened.text.j2, line 1"),
        ("opened_text", "{{ alert.colour }}", "no attribute 'colour'"),
        ("jobs__digest__opened_text", "{{ nothing }}", "'nothing' is undefined"),
        ("opened_text", "{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("opened_text", "{{ alert.figures.clear() }}", "SecurityError"),
        ("opened_text", "{% for i in range(10**9) %}{% endfor %}", "OverflowError"),
        ("opend_text", "", "name it after an event"),
        ("counted_text", "", "name it after an event"),
    ],
)
def test_what_cannot_be_filled_in_is_said_at_the_start(tmp_path: Path, name: str, text: str, problem: str) -> None:
    write(tmp_path, **{name: text})
    with pytest.raises(ConfigurationError, match=problem):
        NotificationSettings.of(load_settings(templates=str(tmp_path)), RealWorld())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        NotificationSettings.of(load_settings(templates=str(tmp_path / "nowhere")), RealWorld())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"routes": [{"channel": "pigeon"}]}, "route 1: no channel 'pigeon' is installed"),
        ({"routes": [{"channel": "slack", "after": "soon"}]}, "route 1: 'soon' is not a duration"),
        ({"routes": [{"channel": "slack", "name": "a"}, {"channel": "email", "name": "a"}]}, "the same name"),
        ({"notification_rate": "many"}, "MAINSPRING_NOTIFICATION_RATE"),
    ],
)
def test_settings_that_cannot_be_read_say_so(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        NotificationSettings.of(load_settings(**settings), RealWorld())


def test_without_routes_whatever_has_a_default_destination_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_SLACK_WEBHOOK_URL", "https://slack.example/")
    monkeypatch.setenv("MAINSPRING_EMAIL_TO", "ops@example.org")
    routes = NotificationSettings.of(load_settings(), RealWorld()).routes
    assert [(route.channel, route.severity) for route in routes] == [
        ("slack", Severity.WARNING),
        ("email", Severity.WARNING),
    ]
    monkeypatch.setenv("MAINSPRING_ROUTES", '[{"channel": "email", "after": "15m", "severity": "critical"}]')
    (route,) = NotificationSettings.of(load_settings(), RealWorld()).routes
    assert (route.name, route.after.total_seconds()) == ("route-1", 900)
