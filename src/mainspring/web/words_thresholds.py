"""The words of the thresholds of a job."""

from __future__ import annotations

from typing import Final


class ThresholdsWords:
    """What the dialog of thresholds says."""

    title = "Thresholds of {name}"
    lead = "Passing one of these opens an alert. An empty field is no limit."
    edit = "Change thresholds"
    save = "Save thresholds"
    threshold = "Threshold"
    present = "In force"
    new = "New"
    in_code = "code says {value}"
    none = "none"
    labels: Final = {
        "staleness": "Silence after a due run",
        "failure_rate": "Share of failures, %",
        "consecutive_failures": "Failures in a row",
        "recovery": "Successes that resolve it",
        "execution_time": "Longest run",
        "shortest_time": "Shortest success",
        "runs_per_hour": "Runs within an hour",
        "least_items": "Fewest items of a success",
        "share_of_usual_items": "Share of the usual items, %",
        "anomaly": "Unusual durations, deviations",
        "trend_days": "Timeout reached within, days",
    }
    needed = "This one always has a value."
    wrong: Final = {
        "duration": "Write a span such as 30m or 1h30m, {least} to {most}.",
        "percent": "Write a percentage, {least} to {most}.",
        "count": "Write a whole number, {least} to {most}.",
        "number": "Write a number, {least} to {most}.",
    }
    reset = "Take back all changes: as the code declares them"
    unchanged = "Nothing was changed: every field says what is in force."
    conflict = "{who} changed this {ago}. What is in force now stands beside the fields; what you asked for is in them."
    done = "{name}: {changes}"
    one_change = "{label} {old} → {new}"
    done_reset = "{name}: thresholds are as code says"


THRESHOLDS: Final = ThresholdsWords()
