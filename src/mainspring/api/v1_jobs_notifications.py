"""`/v1/jobs/{id}/notifications`: what a job told to the outside, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.v1_jobs_lookup import JOBS_PATH, JobId, Viewer, visible_job_with
from mainspring.domain.instants import instant_text
from mainspring.domain.notification import Notification, NotificationStatus
from mainspring.store.alerting import notifications

router = APIRouter(prefix=JOBS_PATH, tags=["On-demand jobs"], dependencies=[only_known_parameters])


class NotificationView(BaseModel):
    """One delivery of a message to one destination."""

    model_config = ConfigDict(alias_generator=to_camel)

    id: UUID = Field(description="Receivers of webhooks see it as `webhook-id`, equal for every try.")
    event: str = Field(description="`notification`, or what became of the job.")
    channel: str
    status: NotificationStatus = Field(description="dead: given up.")
    attempts: int = Field(description="Tries so far.")
    created_at: datetime
    available_at: datetime | None = Field(description="When the next try is due; null once there is none.")
    delivered_at: datetime | None


class NotificationList(BaseModel):
    """All that a job told."""

    notifications: list[NotificationView]


@router.get(
    "/{job_id}/notifications",
    response_class=Response,
    responses={200: {"model": NotificationList}, **documented(404, 422)},
)
async def list_notifications(services: CurrentServices, actor: Viewer, job_id: JobId) -> Response:
    """List what a job told to the outside: its notification, and the webhook that heard of its end."""
    _, told = await visible_job_with(services, actor, job_id, notifications.of_execution)
    return json_response({"notifications": [_notification_json(item) for item in told]})


def _notification_json(item: Notification) -> dict[str, Any]:
    # Neither the destination nor the last error: they tell how the operator has set things up.
    waits = item.status is NotificationStatus.PENDING
    return {
        "id": str(item.id),
        "event": item.message.event,
        "channel": item.channel,
        "status": item.status.value,
        "attempts": item.attempts,
        "createdAt": instant_text(item.created_at),
        "availableAt": instant_text(item.available_at) if waits else None,
        "deliveredAt": instant_text(item.delivered_at),
    }
