"""The words of the dialog that runs a job."""

from __future__ import annotations

from typing import Final


class RunAJobWords:
    """What the dialog says."""

    title = "Run a job"
    verb = "Run the job"
    choose = "Choose a job"
    choose_verb = "Go on"
    payload = "Payload"
    no_fields = "This job takes any JSON object."
    as_json = "Payload as JSON instead"
    as_json_hint = "What stands here counts, and not the fields above."
    more = "Queue, priority, delay, key"
    queue = "Queue"
    queue_hint = "empty: the job's own, {queue}"
    priority = "Priority, -100 to 100"
    delay = "Delay in seconds"
    key = "Idempotency key"
    key_hint = "asking again with it returns the first run"
    required = "required"
    left_empty = "left empty"
    yes = "yes"
    no = "no"
    is_running = "A run of this job has not ended yet: this would be another one."
    bad_json = "This is no JSON object: {problem}"
    bad_number = "Priority and delay are whole numbers."
    done = "{job} is queued"
    none = "There is no job that you may run."


RUN_A_JOB: Final = RunAJobWords()
