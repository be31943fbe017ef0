"""`/v1/jobs/templates`: the requests that the application has prepared for its tenants."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.callers import actor_who_may
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.domain.access import Actor, Permission
from mainspring.domain.job_object import shown_payload
from mainspring.domain.template import JobTemplate

router = APIRouter(prefix="/v1/jobs/templates", tags=["On-demand jobs"], dependencies=[only_known_parameters])

Viewer = Annotated[Actor, Depends(actor_who_may(Permission.VIEW_JOBS, "template.view"))]


class TemplateView(BaseModel):
    """A prepared request; what is null is left to you, or else to the job."""

    model_config = ConfigDict(alias_generator=to_camel)

    name: str = Field(description="For `template` in `POST /v1/jobs`.")
    description: str
    job_type: str
    payload: dict[str, Any] = Field(description="Yours is merged over it (RFC 7396): null takes a field out.")
    priority: int | None
    max_retries: int | None
    queue: str | None


class TemplateList(BaseModel):
    """All templates, by name."""

    templates: list[TemplateView]


@router.get("", response_class=Response, responses={200: {"model": TemplateList}, **documented(422)})
async def list_templates(services: CurrentServices, _actor: Viewer) -> Response:
    """List the templates that `POST /v1/jobs` takes."""
    registry = services.app.registry
    return json_response(
        {
            "templates": [
                _template_json(template, registry.get(template.job_name).definition.sensitive)
                for template in services.app.templates.offered()
            ]
        }
    )


def _template_json(template: JobTemplate, sensitive: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": template.name,
        "description": template.description,
        "jobType": template.job_name,
        "payload": shown_payload(dict(template.payload), sensitive),
        "priority": template.priority,
        "maxRetries": template.max_retries,
        "queue": template.queue,
    }
