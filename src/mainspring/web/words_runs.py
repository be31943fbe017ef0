"""The words of the list of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunsWords:
    """What the list of runs says."""

    title = "Runs"
    run_a_job = "Run a job…"
    search = "Which runs"
    search_hint = "status:failed job:digest started:<2h"
    help = 'Words, keys and quotes: status:failed,retrying -job:heartbeat duration:>30s error:"timed out"'
    find = "Find"
    everything = "All runs"
    remove = "Remove {term}"
    at_position = "at character {position}"
    unreadable = "The filter cannot be read"
    suggestions = "Suggestions"
    any_status = "All"
    status = "Status"
    job = "Job"
    run = "Run"
    by = "Triggered by"
    queue = "Queue"
    intended = "Intended"
    started = "Started"
    waited = "Waited"
    duration = "Duration"
    usual = "usually {duration}"
    attempt = "Attempt"
    progress = "Progress"
    pick = "Choose run {run}"
    pick_all = "Choose all runs on this page"
    compact = "Compact rows"
    roomy = "Roomy rows"
    export_csv = "CSV"
    export_json = "JSON"
    export = "Export what the filter finds"
    none = "No runs match"
    none_drop = "Drop one of the terms:"
    none_at_all = "No runs yet"
    none_at_all_hint = "A run appears here as soon as a schedule fires or somebody asks for one."
    newer = "{count} new: show"
    window_text = "Errors and payloads are searched in the last 24 hours of runs; add created:<7d to look further."
    window = "Without an index for this, the last 30 days are searched; add created:<90d to look further."
    too_slow = "The search was stopped"
    columns = "Columns"
    show_columns = "Show these"
    views = "Saved views"
    save_view = "Save this view…"
    save_view_title = "Save this view"
    save_view_verb = "Save"
    save_view_body = "The filter, the columns and the height of rows, under a name. Its address can be sent to others."
    view_name = "Name"
    view_name_wrong = "A name has 1 to {most} characters."
    views_full = "You have {most} views: remove one first."
    view_saved = "{name} is saved"
    view_removed = "{name} is removed"
    remove_view = "Remove the view {name}"
    chosen = "chosen"
    cancel = "Cancel…"
    retry = "Retry…"
    cancel_all = "Cancel all that match…"
    retry_all = "Retry all that match…"
    bulk_title: ClassVar[Mapping[str, str]] = {"cancel": "Cancel {count} runs", "retry": "Retry {count} runs"}
    bulk_verb: ClassVar[Mapping[str, str]] = {"cancel": "Cancel {count} runs", "retry": "Retry {count} runs"}
    bulk_effect: ClassVar[Mapping[str, str]] = {
        "cancel": "Queued runs end at once, running ones within ten seconds. What has ended stays as it is.",
        "retry": "Failed runs with retries left go back to the queue under their ids. Others stay as they are.",
    }
    bulk_fixed = "The count is fixed: runs that come later are not touched."
    bulk_tracked = (
        "It goes on by itself when you leave this page, can be stopped, and says at its end what could not be done. "
        "Runs that come later are not touched."
    )
    bulk_begun: ClassVar[Mapping[str, str]] = {
        "cancel": "Cancelling has begun; its progress stands above the list",
        "retry": "Retrying has begun; its progress stands above the list",
    }
    more_than = "more than {count}"
    actions = "Bulk actions"
    all_actions = "All of them"
    action_title = "{verb} all of {filter}"
    action_of: ClassVar[Mapping[str, str]] = {"cancel": "Cancel", "retry": "Retry"}
    action_waits = "waits for a worker"
    stop_action = "Stop…"
    stopping = "It is stopping"
    bulk_none = "There is nothing to do: no run is chosen."
    bulk_done: ClassVar[Mapping[str, str]] = {"cancel": "{count} cancelled", "retry": "{count} queued again"}
    bulk_refused = "{count} could not be: {example}"


RUNS: Final = RunsWords()
