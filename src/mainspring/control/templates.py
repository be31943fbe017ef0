"""The templates of an application: declared in code, asked for by their handle or, by tenants, by their name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Unpack, cast

from mainspring.control.enqueue_requests import MAX_PRIORITY, MAX_RETRIES
from mainspring.control.handles import ExecutionHandle
from mainspring.domain.template import JobTemplate
from mainspring.domain.write_door import to_jsonable
from mainspring.errors import DefinitionError, MainspringError
from mainspring.jobs.named import NamedRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mainspring.control.executions import ExecutionCommands
    from mainspring.control.options import EnqueueOptions
    from mainspring.domain.access import Actor
    from mainspring.jobs.registry import JobRegistry


class UnknownTemplateError(MainspringError):
    """No template of that name is offered."""

    code = "UNKNOWN_TEMPLATE"


class TemplateHandle:
    """A declared template: what `app.template(...)` returns.

    Attributes:
        template: What it has prepared.
    """

    def __init__(
        self, template: JobTemplate, registry: JobRegistry, commands: Callable[[], tuple[ExecutionCommands, Actor]]
    ) -> None:
        self.template = template
        self._registry = registry
        self._commands = commands

    async def enqueue(self, payload: object = None, **options: Unpack[EnqueueOptions]) -> ExecutionHandle[Any]:
        """Ask for one execution of the template's job.

        Args:
            payload: What differs from the template's payload, merged over it (RFC 7396).
            **options: See `EnqueueOptions`; they win over the template's.

        Raises:
            NotRunningError: The application is neither connected nor running.
            InvalidPayloadError: The merged payload does not fit the job's payload type.

        Example:
            >>> await monthly_quotes.enqueue({"filters": {"desk": 7}}, organization_id="acme")  # doctest: +SKIP
        """
        commands, actor = self._commands()
        merged = self.template.payload_with(to_jsonable(payload))
        chosen = options_of(self.template) | options
        (execution_id,) = await commands.enqueue(self.template.job_name, [merged], **chosen)
        return ExecutionHandle(execution_id, self._registry.get(self.template.job_name), commands, actor)


class Templates:
    """The templates of one application.

    Args:
        registry: The jobs that templates may ask for.
        commands: Returns the commands that handles use.
    """

    def __init__(self, registry: JobRegistry, commands: Callable[[], tuple[ExecutionCommands, Actor]]) -> None:
        self._templates: NamedRegistry[JobTemplate] = NamedRegistry("template")
        self._registry = registry
        self._commands = commands

    def declare(
        self,
        name: str,
        *,
        job: str,
        payload: object = None,
        description: str = "",
        priority: int | None = None,
        max_retries: int | None = None,
        queue: str | None = None,
    ) -> TemplateHandle:
        """Prepare requests for a job, of which callers say only what differs; `app.template(...)`.

        Tenants may ask for it by `template` in `POST /v1/jobs` where its job is declared `on_demand`.

        Args:
            name: What callers call it, `[A-Za-z0-9][A-Za-z0-9._-]{0,199}`.
            job: The job, declared before.
            payload: What it is to work on, as far as that is known: an object in JSON, or a model of the job's.
            description: What it is for, one sentence.
            priority: -100 to 100, higher first.
            max_retries: 0 to 20.
            queue: The queue.

        Raises:
            DefinitionError: The name is taken or cannot be used, or something is out of its range.
            JobNotFoundError: No job is called so yet.

        Example:
            >>> monthly_quotes = app.template(  # doctest: +SKIP
            ...     "monthly-quotes", job="export_report", payload={"reportType": "quotes", "format": "xlsx"}
            ... )
        """
        prepared: object = {} if payload is None else to_jsonable(payload)
        if not isinstance(prepared, dict):
            raise DefinitionError(f"template {name!r}: the payload must be an object, and it is {prepared!r:.200}")
        if priority is not None and not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise DefinitionError(f"template {name!r}: priority is {priority}: it must be -100 to 100, higher first")
        if max_retries is not None and not 0 <= max_retries <= MAX_RETRIES:
            raise DefinitionError(f"template {name!r}: max_retries is {max_retries}: it must be 0 to {MAX_RETRIES}")
        template = JobTemplate(
            name=name,
            job_name=self._registry.get(job).definition.name,
            description=description,
            payload=cast("Mapping[str, Any]", prepared),
            priority=priority,
            max_retries=max_retries,
            queue=queue,
        )
        self._templates.add(template)
        return TemplateHandle(template, self._registry, self._commands)

    def offered(self) -> list[JobTemplate]:
        """Return those whose jobs tenants may create, by name."""
        offered = (item for item in self._templates if self._registry.get(item.job_name).definition.on_demand)
        return sorted(offered, key=lambda template: template.name)

    def offered_as(self, name: str) -> JobTemplate:
        """Return the template that tenants call so.

        Raises:
            UnknownTemplateError: There is none; the message names the nearest ones.
        """
        offered = {template.name: template for template in self.offered()}
        if name not in offered:
            near = difflib.get_close_matches(name, offered, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "GET /v1/jobs/templates lists them"
            raise UnknownTemplateError(f"no template is called {name[:200]!r}: {hint}")
        return offered[name]


def options_of(template: JobTemplate) -> EnqueueOptions:
    """Return what a template says besides the job and its payload."""
    options: EnqueueOptions = {}
    if template.priority is not None:
        options["priority"] = template.priority
    if template.max_retries is not None:
        options["max_retries"] = template.max_retries
    if template.queue is not None:
        options["queue"] = template.queue
    return options
