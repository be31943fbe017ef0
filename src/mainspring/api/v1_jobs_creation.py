"""What a body of `POST /v1/jobs` asks for: a job, its payload and its options, with those of a template under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.api.problems import Fault, InvalidRequestError
from mainspring.control.options import EnqueueOptions
from mainspring.control.templates import options_of

if TYPE_CHECKING:
    from mainspring.api.v1_jobs_bodies import CreateJob
    from mainspring.control.templates import Templates
    from mainspring.domain.template import JobTemplate


def asked_for(body: CreateJob, templates: Templates) -> tuple[str, object, EnqueueOptions]:
    """Return the name of the job, its payload and its options.

    Raises:
        UnknownTemplateError: No template is called so.
        InvalidRequestError: It names neither a job nor a template, or a template and another job.
    """
    if not body.template:
        if not body.job_type:
            raise InvalidRequestError([Fault("jobType", "it is missing: name a job, or a `template`")])
        return body.job_type, body.payload, _options(body) | EnqueueOptions(priority=body.priority)
    template = templates.offered_as(body.template)
    if body.job_type not in {"", template.job_name}:
        raise InvalidRequestError(
            [Fault("jobType", f"the template {template.name!r} is for the job {template.job_name!r}: leave it out")]
        )
    return template.job_name, template.payload_with(body.payload), _options_over(template, body)


def _options_over(template: JobTemplate, body: CreateJob) -> EnqueueOptions:
    options = options_of(template)
    if "priority" in body.model_fields_set:
        options["priority"] = body.priority
    return options | _options(body)


def _options(body: CreateJob) -> EnqueueOptions:
    """Return what the body says besides the priority, which is never left out."""
    options: EnqueueOptions = {"depends_on": body.depends_on, "on_parent_failure": body.on_parent_failure}
    if body.max_retries is not None:
        options["max_retries"] = body.max_retries
    if body.scheduled_at is not None:
        options["run_at"] = body.scheduled_at
    if body.queue is not None:
        options["queue"] = body.queue
    if body.unique_key is not None:
        options["unique_key"] = body.unique_key
    if body.webhook is not None:
        options["webhook_url"] = body.webhook.url
    return options
