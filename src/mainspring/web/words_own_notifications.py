"""The words of the page on which people choose what they are told themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mainspring.web.words_alerts import NotificationTabs

if TYPE_CHECKING:
    from collections.abc import Mapping


class OwnNotificationWords(NotificationTabs):
    """What the page says."""

    title = "What I am told"
    lead = "Alerts that come to you alone, beside what everybody is told. Nobody else is told more or less by it."
    saved = "It is saved, and counts from now on."
    names: Mapping[str, str] = {"email": "By mail", "webhook": "By a webhook of your own"}
    is_chosen = "You are told at {destination}."
    not_chosen = "You are told nothing yet."
    no_address = "No mail address of yours is known: sign in under your address, or ask an admin."
    no_hosts = "No webhook of your own is allowed: an admin names the hosts in MAINSPRING_OWN_WEBHOOK_HOSTS."
    url = "Address"
    url_hint = "https, to one of: {hosts}"
    url_kept = "empty: as it is. https, to one of: {hosts}"
    severity = "At least"
    jobs = "Only of jobs"
    jobs_hint = "patterns with commas between, such as billing-*; empty: of all"
    groups = "Only of groups"
    groups_hint = "with commas between; empty: of all"
    days = "On"
    between = "Between"
    between_hint = "such as 09:00-18:00, on the clocks of {zone}. What comes at other times waits until then."
    save = "Save"
    remove = "Tell me nothing"


OWN_NOTIFICATIONS: Final = OwnNotificationWords()
