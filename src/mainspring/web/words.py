"""Every word that the dashboard's frame says; each page has a catalogue beside it, `words_<page>.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "menu": {
        "overview": "Overview",
        "runs": "Runs",
        "schedules": "Schedules",
        "queues": "Queues",
        "workers": "Workers",
        "platform": "Platform",
        "audit": "Audit log",
        "people": "People and keys",
        "settings": "Settings",
    },
    "shell": {
        "skip": "Skip to content",
        "main": "Main",
        "menu": "Menu",
        "search": "Search pages, jobs and runs",
        "search_hint": "Search pages, jobs, runs…",
        "environment": "environment",
        "live": "Live updates",
        "live-live": "Live",
        "live-reconnecting": "Reconnecting",
        "live-paused": "Paused",
        "clock": "Clock",
        "clock_mine": "My zone",
        "clock_utc": "UTC",
        "clock_schedule": "The schedule's zone",
        "theme": "Switch the colours",
        "theme-auto": "Colours as the system has them",
        "theme-light": "Light colours",
        "theme-dark": "Dark colours",
        "copied": "Copied",
        "undo": "Undo",
        "resume_all": "Resume all",
        "signed_in": "Signed in as",
        "sign_out": "Sign out",
        "shortcuts": "Keyboard shortcuts",
        "close": "Close",
        "cancel": "Cancel",
        "reason": "Reason",
        "reason_hint": "kept in the audit log",
        "type_name": "Type the name to confirm",
        "old": "old",
        "new": "new",
        "read_only": "This dashboard is read-only: it shows everything and changes nothing.",
        "no_results": "Nothing of that name. A run is found by its id, a job by a part of its name.",
    },
    "keys": {
        "/": "Search",
        "g o": "Overview",
        "g r": "Runs",
        "g s": "Schedules",
        "g q": "Queues",
        "g w": "Workers",
        "j": "Next row",
        "k": "Row before",
        "Enter": "Open the row",
        "x": "Choose the row",
        "e": "Edit the row",
        "r": "Run the row's job",
        "t": "Switch the colours",
        ".": "Pause live updates",
        "?": "These keys",
    },
    "sign_in": {
        "title": "Sign in",
        "name": "Name",
        "password": "Password",
        "button": "Sign in",
        "link_title": "Sign in by a link",
        "link_text": "This link lets you in once.",
        "signed_out": "You have signed out.",
        "ended": "Your session is over: sign in again.",
        "no_user": "There is nobody yet who could sign in. Make the first person at the terminal:",
        "no_user_command": "mainspring user create NAME --role admin",
    },
    "fault": {
        "missing_title": "There is no such page",
        "missing": "Nothing is at this address. It may have been removed, or the address is not whole.",
        "denied_title": "You may not see this",
        "error_title": "This did not work",
        "unexpected": "Something went wrong that nobody foresaw; the log of the node has the details. Try again.",
        "home": "Go to the overview",
        "not_running_title": "The application is not running",
        "not_running": "Its store is not open yet: try again in a moment.",
        "assets_title": "The dashboard was not built",
        "assets": (
            "mainspring was installed without the dashboard's style and scripts (MAINSPRING_SKIP_ASSETS=1, or a build "
            "without Node.js). The API works. For the dashboard install a published wheel, or install from source "
            "again with Node.js 20 or newer, or with network access so that it can be fetched."
        ),
    },
}
