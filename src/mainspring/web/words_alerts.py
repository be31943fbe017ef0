"""The words of the pages about alerts, maintenance and notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class NotificationTabs:
    """What leads from one of these pages to the other."""

    tabs_label = "Alerts and notifications"
    tabs: Sequence[tuple[str, str]] = (
        ("/alerts", "Alerts"),
        ("/notifications", "Notifications"),
        ("/notifications/mine", "What I am told"),
    )


class AlertWords(NotificationTabs):
    """What the alerts page says."""

    title = "Alerts"
    lead = "What is wrong now, which rule says so with its figures, and who looks after it."
    filter = "Filter"
    reset = "Show what is open"
    state = "State"
    unresolved = "not resolved"
    every_state = "any"
    severity = "Severity"
    any = "any"
    rule = "Rule"
    job = "Job"
    why = "Why"
    since = "Since"
    count = "Seen"
    told = "Told"
    not_told = "not told"
    held = "held back: {by}"
    by = "by {by}"
    until = "until"
    run = "the run"
    runs = "its runs"
    actions = "Actions"
    acknowledge = "Acknowledge"
    snooze = "Snooze"
    resolve = "Resolve"
    mute = "Mute"
    hours = "For how many hours"
    hours_hint = "empty: until somebody ends it"
    none = "Nothing is wrong"
    none_hint = "No alert matches. Rules are watched all the time; what they find stands here until it is over."
    older = "Older"
    newest = "Newest"
    silences = "Maintenance and mutes"
    silences_lead = "Alerts are watched as ever, and not told."
    no_silence = "None: everything is told."
    plan = "Plan maintenance…"
    plan_title = "Plan maintenance"
    plan_verb = "Plan maintenance"
    plan_body = "Alerts are not told in this time. What was held back is summed up in one message at its end."
    covers = "Covers"
    covers_all = "everything"
    covers_group = "the group"
    covers_job = "the job"
    covers_alert = "the alert"
    target = "Name of the job or group"
    target_hint = "empty: everything"
    planned = "Maintenance is planned."
    end = "End"
    end_title = "End it now?"
    end_body = "Alerts are told again at once; what a maintenance window held back is summed up."
    ended = "It is over: alerts are told again."
    kinds: Mapping[str, str] = {"maintenance": "Maintenance", "mute": "Mute"}
    dialog_titles: Mapping[str, str] = {
        "acknowledge": "Acknowledge this alert?",
        "snooze": "Snooze this alert?",
        "resolve": "Resolve this alert?",
        "mute": "Mute this alert?",
    }
    dialog_bodies: Mapping[str, str] = {
        "acknowledge": "You look after it: it is not escalated, and told again only when it ends.",
        "snooze": "Nobody is told until then; if it is still open, it is told anew.",
        "resolve": "It ends now. If the rule still does not hold, it opens again.",
        "mute": "Nobody is told of this rule on this thing any more; it is watched as ever.",
    }
    after: Mapping[str, str] = {
        "acknowledge": "Acknowledged", "snooze": "Snoozed", "resolve": "Resolved", "mute": "Muted",
    }  # fmt: skip
    undone = "Taken back: {subject} is {state} again."
    done: Mapping[str, str] = {
        "acknowledge": "You look after {subject}.",
        "snooze": "{subject} is snoozed.",
        "resolve": "{subject} is resolved.",
        "mute": "{subject} is muted.",
    }


class NotificationWords(NotificationTabs):
    """What the notifications page says."""

    title = "Notifications"
    lead = "What was told to the outside, what came of it, and whether it is worth it."
    filter = "Filter"
    reset = "Show everything"
    channel = "Channel"
    status = "Status"
    job = "Job"
    any = "any"
    at = "When"
    message = "Message"
    to = "To"
    attempts = "Tries"
    why = "Why"
    alert = "the alert's job"
    none = "Nothing was told"
    none_hint = "No notification matches."
    older = "Older"
    newest = "Newest"
    figures = "The last 30 days"
    messages = "Messages"
    occurrences = "Occurrences"
    ratio = "Told once for all"
    ratio_hint = "share of what was seen that made no message of its own"
    cooldowns = "Cooldowns in force"
    acknowledged_after = "Acknowledged after"
    acknowledged_hint = "median"
    noisiest = "Noisiest rules"
    test = "Send a test"
    test_title = "Send a test message"
    test_verb = "Send"
    test_body = "It goes the way of every notification, and its line below says what came of it."
    to_hint = "such as #ops or ada@acme.example; empty: that of the settings"
    tested = "A test message is on its way by {channel}"
    subject = "On"
    alerts = "Alerts"


ALERTS: Final = AlertWords()
NOTIFICATIONS: Final = NotificationWords()
