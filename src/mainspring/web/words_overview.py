"""The words of the overview."""

from __future__ import annotations

from typing import Final


class OverviewWords:
    """What the overview says, in the order of its cards."""

    title = "Overview"
    lead = "{jobs}, {queues}, {nodes}"
    look_back = "Time range"
    run_a_job = "Run a job"

    attention_more = "and {count} more"
    attention_open = "Open alerts"
    attention_runs = "See failed runs"
    failing_in_a_row = "{job} has failed {count} times in a row: {message}."

    figures = "Key figures"
    success_rate = "Success rate, {range}"
    running = "Running"
    queued = "Queued"
    failed = "Failed, {range}"
    p95 = "Duration p95, {range}"
    next_run = "Next run"
    of_slots = "of {slots} slots"
    no_worker = "no worker is running"
    draining = "{count} draining"
    nothing_waits = "nothing waits"
    oldest_waits = "oldest waits {wait}"
    no_runs_yet = "no runs in this time"
    none_planned = "none"
    nothing_planned = "no schedule is on"
    no_failures = "none, well done"
    nothing_before = "nothing to compare with before"
    same_as_before = "as in the {range} before"
    points_more = "+{points} points to the {range} before"
    points_less = "−{points} points to the {range} before"
    more = "+{amount} to the {range} before"
    less = "−{amount} to the {range} before"

    throughput = "Throughput"
    throughput_summary = (
        "{total} runs ended in the last {range}: {succeeded} succeeded, {failed} failed, {cancelled} cancelled, "
        "{skipped} skipped; busiest at {busiest}."
    )
    throughput_none = "No run ended in the last {range}."
    as_table = "Show as a table"
    from_time = "From"
    succeeded = "Succeeded"
    cancelled = "Cancelled"
    skipped = "Skipped"
    failed_runs = "Failed"

    failures = "Needs attention"
    failures_by = "grouped by error"
    failures_none = "Nothing has failed"
    failures_none_hint = "No run failed in the last {range}."
    failures_times = "{count}×"
    failures_since = "since"
    failures_in_a_row = "{count} in a row"
    failures_recovered = "succeeded since"
    failures_no_message = "The error says nothing"
    failures_all = "All failures of the last {range}"
    last_error = "Last error"

    forecast = "Next two hours"
    forecast_count = "{count} planned"
    forecast_busiest = "busiest at {at} ({count} at once)"
    forecast_none = "Nothing is planned"
    forecast_none_hint = "No schedule fires within two hours."
    forecast_now = "now"
    forecast_usual = "{name} at {at}, took {usual} last time"
    forecast_unknown = "{name} at {at}"
    forecast_band = "{name}: so often that it is drawn as a band"
    forecast_more = "{count} more jobs are planned: see Schedules"
    forecast_label = "Planned runs of the next two hours, one row for each job"
    collisions = "Start together in one queue: {list}"
    collision = "{names} at {at}"
    job = "Job"
    planned_for = "Planned for"
    queue = "Queue"
    usually = "Last took"

    queues = "Queues"
    queues_slots = "{running}/{limit} slots"
    queues_waiting = "{waiting} waiting, {wait}"
    queues_idle = "nothing waits"
    queues_paused = "paused"
    queues_at_limit = "at limit"
    queues_busy = "{queue}: {running} of {limit} slots busy"
    queues_none = "No queue yet"
    queues_none_hint = "A queue appears with the first job that names it."
    queues_all = "All queues"

    latest = "Latest runs"
    latest_all = "All runs"
    latest_none = "No run yet"
    latest_none_hint = "Runs appear here as soon as a job is asked for or its schedule fires."
    status = "Status"
    run = "Run"
    by = "Triggered by"
    started = "Started"
    duration = "Duration"

    failed_to_load = "Could not load"
    failed_to_load_hint = "The store did not answer in time. The rest of the page is not affected."
    retry = "Retry"

    first_title = "Three steps to the first run"
    first_define = "Define a job, for instance in shop.py"
    first_code = """from mainspring import Mainspring

app = Mainspring()


@app.job("greet")
async def greet() -> str:
    return "hello"
"""
    first_start = "Start a worker"
    first_command = "mainspring serve --app shop:app"
    first_run = "Run it"
    first_run_command = "mainspring jobs run greet --app shop:app"


OVERVIEW: Final = OverviewWords()
