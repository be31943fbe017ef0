"""The words of a message: what is wrong with what, whether it is over, and what is still wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.alerts.alert_message import Story, alert_message
from mainspring.alerts.outgoing import digest_message
from mainspring.alerts.slack_blocks import blocks_of
from mainspring.domain.alert import Alert, AlertEvent, AlertRule, AlertState, Severity
from mainspring.domain.notification import Message
from mainspring.domain.rules.queues import Unclaimed, never_claimed
from mainspring.domain.rules.system import HeldJob, OpenBreaker, held_jobs, open_breakers
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from datetime import datetime


def alert_of(rule: AlertRule, now: datetime, *, job_name: str | None = None, **figures: Any) -> Alert:
    alert_id = RealWorld().new_id()
    return Alert(
        alert_id, "dev", rule, "x", job_name, Severity.INFO, AlertState.OPEN, "", figures, 1, None, None, now, now
    )


def test_a_first_run_that_is_under_way_is_told_and_not_that_there_never_was_one() -> None:
    now = RealWorld().now()
    alert = alert_of(AlertRule.STALENESS, now, job_name="digest")
    never = alert_message(alert, AlertEvent.OPENED, Story(now)).fields
    assert (never["Last run"], never["Last success"], never.get("Running since")) == ("never", "never", None)
    first = alert_message(alert, AlertEvent.OPENED, Story(now, running_since=now)).fields
    assert (first.get("Last run"), first["Last success"]) == (None, "never")
    assert first["Running since"].startswith(f"{now:%Y-%m-%dT%H:%M}")


def test_there_are_words_for_every_rule_and_event() -> None:
    now = RealWorld().now()
    begins = {
        AlertEvent.RESOLVED: "Over: ",
        AlertEvent.ESCALATED: "Nobody looks after it: ",
        AlertEvent.REOPENED: "Again: ",
        AlertEvent.ACKNOWLEDGED: "Acknowledged: ",
        AlertEvent.SNOOZED: "Snoozed: ",
    }
    for rule in AlertRule:
        said = alert_message(alert_of(rule, now, job_name="x"), AlertEvent.OPENED, Story(now)).title
        assert said.startswith("x ")
        for event in AlertEvent:
            title = alert_message(alert_of(rule, now, job_name="x"), event, Story(now)).title
            assert title == begins.get(event, "") + said


@pytest.mark.parametrize(
    ("rule", "job_name", "title"),
    [
        (AlertRule.QUEUE_DEPTH, None, "queue x holds too much"),
        (AlertRule.QUEUE_AGE, None, "queue x is not worked off"),
        (AlertRule.NODE_LOST, None, "node x was lost"),
        (AlertRule.BREAKER_OPEN, None, "service x is not called any more"),
        (AlertRule.BREAKER_OPEN, "charge", "charge is held back by its breaker"),
        (AlertRule.PARTITION_MISSING, None, "the history has no partition for what comes next"),
        (AlertRule.UNWATCHED, None, "the jobs were not watched for a while"),
    ],
)
def test_a_title_says_what_kind_of_thing_it_is_about(rule: AlertRule, job_name: str | None, title: str) -> None:
    now = RealWorld().now()
    assert alert_message(alert_of(rule, now, job_name=job_name), AlertEvent.OPENED, Story(now)).title == title


def test_the_end_of_the_worst_says_what_is_still_open() -> None:
    now = RealWorld().now()
    over = alert_of(AlertRule.CONSECUTIVE_FAILURES, now, job_name="digest")
    still = alert_of(AlertRule.FAILURE_RATE, now, job_name="digest")
    story = Story(now + timedelta(minutes=5), others=[still, still])
    told = alert_message(over, AlertEvent.RESOLVED, story).text
    assert told.startswith("It is over, after 5 min. It was seen once.")
    assert told.endswith("Still open for this job: failure rate")
    assert "Still open" not in alert_message(over, AlertEvent.RESOLVED, Story(now)).text


def test_spans_among_the_figures_are_written_for_people() -> None:
    now = RealWorld().now()
    figures: dict[str, Any] = {"oldestSeconds": 70, "spreadSeconds": 0.05, "durationMs": 2_500, "waiting": 10_001}
    fields = alert_message(alert_of(AlertRule.QUEUE_AGE, now, **figures), AlertEvent.OPENED, Story(now)).fields
    shown = {name: fields.get(name) for name in ("Oldest", "Spread", "Duration", "Waiting")}
    assert shown == {"Oldest": "1 min 10 s", "Spread": "50 ms", "Duration": "2.5 s", "Waiting": "10,001"}


def test_what_is_held_back_says_the_last_error_after_a_semicolon() -> None:
    (job,) = held_jobs([HeldJob("charge", 2, "the bank does not answer", None)])
    (service,) = open_breakers([OpenBreaker("billing", 1, "connection refused")])
    assert (job.sentence, service.sentence) == (
        "job charge is not started: it failed 2 times in a row; the last error: the bank does not answer",
        "service billing is not called: 1 call in a row did not get through; the last error: connection refused",
    )
    (silent,) = held_jobs([HeldJob("charge", 2, None, None)])
    assert silent.sentence == "job charge is not started: it failed 2 times in a row"


def test_what_nobody_takes_says_how_much_waits_and_whether_there_is_room() -> None:
    minutes = timedelta(minutes=2)
    (single,) = never_claimed([Unclaimed("digest", 1, minutes, free=0)])
    assert single.sentence == (
        "an execution of digest has waited for 2 min, and nobody takes it: no node with the worker role is alive"
    )
    (many,) = never_claimed([Unclaimed("digest", 10_001, minutes, free=57)])
    assert many.sentence == (
        "10,001 executions of digest wait, the oldest for 2 min, and nobody takes them: nodes have room for 57 more, "
        "so does any of them know this job and work on its queue?"
    )


def test_a_digest_names_each_of_a_hundred_and_counts_the_rest() -> None:
    messages = [Message(f"job-{number:03} of the {'night ' * 10}keeps failing", "") for number in range(101)]
    whole, longer = digest_message(messages[:100], "just now"), digest_message(messages, "just now")
    for told in (whole.text, "".join(block["text"]["text"] for block in blocks_of(whole)["blocks"])):
        assert [message.title for message in messages[:100] if message.title not in told] == []
    assert whole.text.split("\n\n")[4].splitlines()[-1] == f"• {messages[99].title}"
    assert (longer.title, longer.text.split("\n\n")[5]) == ("101 more alert messages just now", "• and 1 more")
