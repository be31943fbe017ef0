"""The words of the platform's own page."""

from __future__ import annotations

from typing import Final


class PlatformWords:
    """What the page of the platform's own jobs says."""

    title = "Platform"
    lead = "The platform's own jobs, and what its last self-check found."
    validation = "Platform validation"
    validation_none = "No self-check has run yet"
    validation_none_hint = "Trigger platform-self-check below: it examines environment, database, migrations and API."
    passed = "Passed: {passed} of {total} checks"
    failed = "Failed: {failed} of {total} checks did not pass"
    skipped = "{skipped} skipped"
    took = "took {duration}"
    environment = "Environment {environment}"
    script = "Check"
    status = "Status"
    duration = "Duration"
    jobs = "Registered jobs"
    jobs_count = "{enabled} of {total} enabled"
    jobs_none = "No job is registered as an object"
    jobs_none_hint = "Register one with app.register(job): an object with config and execute."
    job = "Job"
    schedule = "Schedule"
    no_schedule = "when asked for"
    enabled = "Enabled"
    disabled = "Disabled"
    next_run = "Next run"
    last_run = "Last run"
    never = "never"
    counts = "Runs"
    counts_of = "{total} runs: {succeeded} succeeded, {failed} failed"
    trigger = "Trigger"
    triggered = "{name} was asked for"
    trigger_title = "Trigger {name}?"
    trigger_body = "It runs once, at once, beside its schedule."
    trigger_disabled = "Disabled: enable it first"
    recent = "Recent runs"
    recent_none = "No run yet"
    recent_none_hint = "Runs of these jobs appear here."
    run = "Run"
    by = "Triggered by"
    started = "Started"
    actions = "Actions"
    cancel = "Cancel"


PLATFORM: Final = PlatformWords()
