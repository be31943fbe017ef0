"""The words of the page about breakers and replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class RepairWords:
    """What the repair page says."""

    title = "Repair"
    lead = "Jobs that are held back because what they need is down, and failures that are run again after a fix."
    breakers = "Breakers"
    breakers_lead = "While a breaker is open, executions of its job wait: none fails for it, and none is lost."
    no_breakers = "No job declares a breaker"
    no_breakers_hint = "@app.job(…, breaker=CircuitBreaker())"
    job = "Job"
    state = "State"
    failures = "Failed in a row"
    probe = "Next probe"
    last_error = "Last error"
    held = "held open by {by}"
    actions = "Actions"
    hold = "Hold open"
    close = "Close"
    titles: Mapping[str, str] = {"hold": "Hold the breaker of {name} open?", "close": "Close the breaker of {name}?"}
    bodies: Mapping[str, str] = {
        "hold": "No execution of it is started, and no probe, until somebody closes it. What runs goes on.",
        "close": "What waits for it goes on at once, and its failures are counted anew.",
    }
    after: Mapping[str, str] = {"hold": "Held open", "close": "Closed"}
    done: Mapping[str, str] = {"hold": "{name} is held back.", "close": "{name} goes on."}
    replays = "Replays"
    replays_lead = "A few failures are run again first; the rest follows at its rate, unless the same error comes back."
    no_replays = "Nothing has been replayed"
    no_replays_hint = "Open a failed run: its error has the button Fix and replay."
    error = "Error"
    progress = "Run again"
    ended = "Ended"
    progress_words = "{started} of {requested}"
    ended_words = "{succeeded} succeeded, {same} failed so again, {other} otherwise"
    began = "Began"
    by = "by {by}"
    cancel = "Cancel"
    cancel_title = "Cancel this replay?"
    cancel_body = "Nothing more of it is started. What runs goes on; what was not started may be replayed later."
    cancel_verb = "Cancel the replay"
    cancelled = "The replay is cancelled."
    start = "Fix and replay…"
    start_title = "Run these failures of {name} again?"
    start_body = "{count} executions failed with this error and have not been replayed."
    start_nothing = "Nothing is left to replay: a replay has taken all that failed with this error."
    start_verb = "Replay"
    canary = "First, a canary of"
    per_minute = "Then, each minute"
    stop_after = "Stop after failures with the same error"
    code_version = "Only what this version of the application ran"
    any_version = "empty: any version"
    started = "The replay has begun."


REPAIR: Final = RepairWords()
