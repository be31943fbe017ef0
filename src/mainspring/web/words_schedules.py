"""The words of the pages of schedules, of the cron editor, and of pausing everything."""

from __future__ import annotations

from typing import Final


class SchedulesWords:
    """What the list of schedules says."""

    title = "Schedules"
    lead = "Jobs come from code, and go with it; when they run, and whether, is yours to change."
    filter = "Filter schedules"
    filter_hint = "name, service:email-service, group:billing"
    find = "Find"
    state = "State"
    tabs: Final = {
        "all": "All",
        "failing": "Failing",
        "stale": "Stale",
        "paused": "Paused",
        "disabled": "Disabled",
    }
    pick_all = "Select all shown"
    pick = "Select {name}"
    on = "On"
    job = "Job"
    schedule = "Schedule"
    next_run = "Next run"
    last_runs = "Last 24 runs"
    last_runs_of = "Last {count} runs of {name}: {failed} failed"
    success = "30 days"
    durations = "Avg · p95"
    actions = "Actions"
    switch = "{name}: on"
    none = "No schedule matches"
    none_hint = "Drop a part of the filter, or look under All."
    none_at_all = "No schedule yet"
    none_at_all_hint = 'A job in code gets one by @app.job("name", schedule=Cron("0 9 * * MON")).'
    shown = "{first} to {last} of {total} schedules"
    earlier = "Previous"
    later = "Next"
    run_now = "Run {name} now"
    edit = "Edit schedule of {name}"
    more = "More for {name}"
    history = "History"
    copy_name = "Copy name"
    reset = "Reset to the code's default"
    already_running = "Already running"
    cannot_be_read = "cannot fire"
    edited = "edited"
    edited_by = "by {by}; code says {code}"
    edited_until = "until {until}"
    new_off = "new, off"
    new_off_hint = "Registered, and waits for somebody to enable it"
    missing = "missing in code"
    missing_hint = "Kept for its history: nothing can be changed"
    paused = "Paused"
    disabled = "Disabled"
    by = "by {by}"
    until = "until {until}"
    all_paused = "Everything is paused"
    at_start = "When the application starts"
    none_in_sight = "none in sight"
    running = "Running"
    never_ran = "has not run yet"
    stopped = "nothing fires it until it is enabled again or its time is over"
    not_judged = "not judged yet; a node with the role monitor does it"
    last_run = "{outcome} {ago}"
    selected = "selected"
    enable = "Enable"
    disable = "Disable"
    run = "Run now"
    enable_many = "Enable the {count} selected?"
    disable_many = "Disable the {count} selected?"
    trigger_many = "Run the {count} selected now?"
    many_done = "{done} done"
    many_failed = "{done} done, {failed} not: {why}"
    enable_title = "Enable {name}?"
    disable_title = "Disable {name}?"
    run_title = "Run {name} now?"
    enable_verb = "Enable {name}"
    disable_verb = "Disable {name}"
    run_verb = "Run {name}"
    was_enabled = "enabled"
    was_disabled = "disabled"
    disable_body = "It does not fire any more from now on. A run that is under way goes on."
    enable_body = "It fires from its next instant on; nothing is made up for."
    run_body = "One run begins at once, beside its schedule."
    critical = "{name} is critical: type its name, and say why it is to stop."
    for_how_long = "For how long"
    enabled_done = "{name} is enabled"
    disabled_done = "{name} is disabled"
    run_done = "{name} runs"
    spans: Final = {
        "": "until somebody changes it",
        "1": "1 hour",
        "24": "1 day",
        "168": "1 week",
        "720": "30 days",
    }
    reset_title = "Reset {name} to what code says?"
    reset_verb = "Reset"
    reset_body = "Its cron expression, its zone and whether it is enabled are again as the code declares them."
    reset_done = "{name} is as code says"


class ScheduleWords:
    """What the page of one schedule says."""

    edit = "Edit schedule"
    why = "Why did it not run?"
    why_lead = "Every due instant, and what became of it."
    outcomes: Final = {
        "": "All",
        "fired": "Fired",
        "skipped": "Skipped",
        "missed": "Missed",
        "coalesced": "Coalesced",
    }
    due_at = "Due at"
    outcome = "What became of it"
    reason = "Why"
    run = "Run"
    no_ticks = "No due instant yet"
    no_ticks_hint = "They are kept from the first one on."
    history = "Last runs"
    all_runs = "All runs"
    no_runs = "It has not run yet."
    statistics = "Statistics, 30 days"
    runs = "Runs"
    success = "Success"
    average = "Average"
    p95 = "p95"
    longest = "Longest"
    items = "Items"
    day = "Day"
    failed = "Failed"
    by_day = "By day"
    heat = "When it ran, last 7 days"
    heat_summary = "{runs} in the last 7 days, {failed} failed; hours in UTC"
    cell = "{day} {hour}:00 UTC: {runs}, {failed} failed"
    configuration = "Configuration"
    configuration_lead = "From code; read-only here."
    in_force = "In force"
    in_code = "In code"
    changes = "Changes"
    no_changes = "Nobody has changed it."
    when = "When"
    who = "Who"
    what = "What"
    change = "Old → new"
    thresholds = "Thresholds"
    overridden = "{value} (code says {code})"
    name = "Name"
    queue = "Queue"
    group = "Group"
    service = "Service"
    enabled_in_code = "Enabled in code"
    yes = "yes"
    no = "no"
    weekdays = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class CronWords:
    """What the cron editor says."""

    title = "Change schedule · {name}"
    read_only = "You may look at it; changing needs the permission schedules.edit_schedules."
    retired = "Code does not declare this job any more: nothing can be changed."
    expression = "Cron expression"
    zone = "Time zone"
    presets_label = "Common patterns"
    presets = (
        ("Every 5 minutes", "*/5 * * * *"),
        ("Hourly", "0 * * * *"),
        ("Daily 9:00", "0 9 * * *"),
        ("Weekdays 9:00", "0 9 * * MON-FRI"),
        ("Mondays 9:00", "0 9 * * MON"),
        ("1st of the month", "0 9 1 * *"),
    )
    fields = ("minute", "hour", "day", "month", "weekday")
    second = "second"
    changed = "changed"
    wrong = "wrong"
    guide = "How to write it"
    examples = (
        ("*/15 * * * *", "every 15 minutes"),
        ("0 9-17 * * *", "on the hour, 9:00 AM to 5:00 PM"),
        ("30 2 * * MON-FRI", "at 2:30 AM, Monday to Friday"),
        ("0 9 1,15 * *", "at 9:00 AM on the 1st and the 15th"),
        ("0 10 L * *", "at 10:00 AM on the last day of the month"),
        ("0 0 * * MON#1", "at midnight on the first Monday"),
    )
    next_runs = "Next 6 runs"
    worth = "Worth knowing"
    clock_change = "Clock change {day}: {effect}."
    same_rate = "It runs {count} a week, as before."
    other_rate = "It runs {then} a week instead of {now}."
    first_rate = "It runs {then} a week."
    meets_one = "One other schedule of queue {queue} fires at the same time: {names}, {when}."
    meets_many = "{count} other schedules of queue {queue} fire at the same time: {names}; {when}."
    meets_none = "No other schedule of queue {queue} fires at these times."
    fits = "A run usually takes {usual}; the next is due after {gap} at the earliest."
    unknown_duration = "It has not run yet, so nobody knows how long it takes."
    change = "Change"
    reason = "Reason"
    expires = "For how long"
    save = "Save"
    saved = "{name}: {words}"
    conflict = (
        "{who} changed this {ago}. In force now: {present}. You asked for: {asked}. Look at both, then save again."
    )
    kept = "Nothing was saved; the old schedule goes on: {problem}"
    cannot_be_read = "cannot be read any more"
    undone = "{name} is as before"


class PauseWords:
    """What pausing everything says."""

    pause = "Pause all…"
    resume = "Resume all"
    pause_title = "Pause all schedules of {environment}?"
    pause_verb = "Pause all"
    resume_title = "Resume all schedules of {environment}?"
    body = (
        "No schedule fires on any node, until you resume or the time is over; each due instant is recorded as skipped, "
        "and nothing is made up for afterwards. Runs that people ask for still start."
    )
    goes_on = "What is queued or running goes on, unless you stop it:"
    stop_runs = "Also stop what schedules have started: cancel it where it waits, ask it to stop where it runs"
    until = "Until when"
    resume_body = "Each schedule fires from its next instant on. What was skipped stays skipped."
    old_open = "schedules fire"
    old_paused = "everything is paused"
    done = "All schedules are paused"
    done_stopped = "All schedules are paused; {count} runs are stopped"
    resumed = "All schedules fire again"
    changed_since = "{by} has changed the pause since; it is left as it is"
    banner = "All schedules are paused since {since}, by {by}."
    banner_until = "They fire again {until}."
    spans: Final = {
        "": "until somebody resumes",
        "15": "15 minutes",
        "60": "1 hour",
        "240": "4 hours",
        "1440": "1 day",
    }


SCHEDULES: Final = SchedulesWords()
SCHEDULE: Final = ScheduleWords()
CRON: Final = CronWords()
PAUSE: Final = PauseWords()
