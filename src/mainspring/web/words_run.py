"""The words of the page of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunWords:
    """What the page of one run says."""

    runs = "Runs"
    title = "{job} {run}"
    breadcrumb = "Breadcrumb"
    retry = "Retry"
    again = "Run again with…"
    cancel = "Cancel…"
    cancel_verb = "Cancel the run"
    retry_verb = "Retry the run"
    cancel_title = "Cancel {job}"
    retry_title = "Retry {job}"
    cancel_queued = "It has not begun: it ends at once."
    cancel_running = "It is asked to stop, and is stopped after ten seconds at the latest. What it has done stays done."
    retry_effect = "It goes back to the queue under its id, with the payload that it had. Retry {number} of {most}."
    cancelled = "{job} is being cancelled"
    retried = "{job} is queued again"
    no_cancel = "It has ended"
    stopping = "It is stopping"
    no_retry_status = "Only failed runs can be retried"
    no_retry_left = "It has no retries left of {most}: run it again instead"
    progress = "Progress"
    step = "Step {step} of {steps}"
    items = "{processed} items · {succeeded} ok · {failed} failed"
    eta = "about {duration} left"
    timeline = "Timeline"
    attempt_of = "attempt {attempt} of {most}"
    omitted = "{count} attempts in the middle are not drawn"
    logs = "Logs"
    error = "Error"
    payload = "Payload"
    result = "Result"
    events = "Events"
    parts = "Parts of this run"
    level = "Level"
    levels: ClassVar[Mapping[str, str]] = {
        "": "all", "info": "info and above", "warning": "warnings and above", "error": "errors"
    }  # fmt: skip
    search_logs = "Search the log"
    find = "Find"
    follow = "Follow"
    pause_log = "Pause"
    wrap = "Wrap lines"
    download = "Download"
    no_lines = "It has said nothing so far."
    no_lines_found = "No line matches."
    first_lines = "First lines"
    earlier_lines = "Earlier lines"
    later_lines = "Later lines"
    latest_lines = "Latest lines"
    log_gap = "… more was said than is shown here: the whole log is in the file"
    no_error = "Nothing went wrong."
    same_error = "{count} runs failed with this error in the last 24 hours"
    fix_and_replay = "Fix and replay…"
    show_them = "show them"
    next_step = "What to do"
    trace = "Traceback"
    earlier_attempts = "Attempts"
    own_code = "Your own code is marked."
    copy = "Copy"
    no_payload = "It was given nothing to work on."
    no_result = "It has returned nothing."
    left_out = "{count} more are left out"
    run = "Run"
    by = "Triggered by"
    queue = "Queue · priority"
    node = "Worker"
    heartbeat = "Heartbeat"
    created = "Asked for"
    intended = "Intended"
    waited = "Waited"
    organization = "Organization"
    tags = "Tags"
    replay = "Replay of"
    reason = "Why it was skipped"
    facts = "Facts"
    last_runs = "Same job, last {count} runs"
    usual = "Usually"
    slowest = "19 of 20 within"
    compared = "This run"
    compared_words: ClassVar[Mapping[str, str]] = {
        "slow": "slower than 19 of 20",
        "long": "longer than usual",
        "usual": "as usual",
        "short": "shorter than usual",
        "": "nothing to compare it with",
    }
    no_last_runs = "No other run has ended yet."
    older = "Older run of this job"
    newer = "Newer run of this job"
    copy_id = "Copy the id"
    ended = "The run has ended: {status}."
    missing_title = "There is no such run"
    missing = "No run with the id {run} is kept here, or it is not yours to see."
    expired = "It was asked for more than {days} days ago; runs that ended before that are removed."
    missing_search = "Search the runs"
    asked_for = "Asked for"
    began = "Attempt {number} began"
    attempt_ended = "Attempt {number}: {outcome}"
    audited: ClassVar[Mapping[str, str]] = {
        "execution.create": "Asked for",
        "execution.cancel": "Cancelled",
        "execution.retry": "Retried",
    }
    denied = "denied"


RUN: Final = RunWords()
TIMELINE: Final[Mapping[str, str]] = {
    "delayed": "Planned",
    "parents": "Other runs",
    "limit": "Limit",
    "queued": "Queued",
    "back_off": "Back-off",
    "attempt": "Attempt {number}",
    "lock": "Lock wait",
    "callback": "Callback",
    "at_once": "{limit} at once",
    "tries": "{count} tries",
}
"""What the bars of the timeline are called."""
