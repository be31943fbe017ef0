"""`/admin/audit`: who did what, or was denied it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.instants import GivenInstant
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.pages import PageNumber, PageSize, next_link, pages_of
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission
from mainspring.domain.instants import instant_text
from mainspring.store.auditing import audit_pages
from mainspring.store.auditing.audit_pages import WantedEntries
from mainspring.store.runs.execution_pages import MOST_COUNTED

if TYPE_CHECKING:
    from mainspring.store.auditing.audit_entries import AuditEntry
    from mainspring.store.engine.database import Connection

router = APIRouter(prefix="/admin/audit", tags=["Audit"], dependencies=[only_known_parameters])

Auditor = Annotated[Actor, Depends(staff_who_may(Permission.VIEW_AUDIT, "audit.view"))]
Text = Annotated[str | None, Query(max_length=500, pattern=r"^[^\x00]+$")]


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class AuditEntryView(_Shown):
    """One thing that somebody did, or was denied."""

    id: UUID
    at: datetime
    actor: str
    actor_kind: str
    organization_id: str | None
    action: str
    target_kind: str
    target_id: str
    allowed: bool
    reason: str | None = Field(description="What the actor gave, or why it was denied.")
    before: Any
    after: Any
    request_id: str | None
    address: str | None


class AuditPage(_Shown):
    """One page of the audit, the newest first."""

    entries: list[AuditEntryView]
    total: int
    page: int
    page_size: int
    total_pages: int


@router.get("", response_class=Response, responses={200: {"model": AuditPage}, **documented(422)})
async def list_audit_entries(
    *,
    request: Request,
    services: CurrentServices,
    actor: Auditor,
    page: PageNumber = 1,
    page_size: PageSize = 25,
    cursor: Annotated[
        UUID | None, Query(description="From the `Link` of the page before; the number of the page then counts on.")
    ] = None,
    by: Annotated[Text, Query(alias="actor", description="What this actor did.")] = None,
    action: Annotated[Text, Query(description="`noun.verb`, or `noun.` for all of a noun.")] = None,
    target_kind: Annotated[str | None, Query(alias="targetKind", max_length=200, pattern=r"^[^\x00]+$")] = None,
    target_id: Annotated[str | None, Query(alias="targetId", max_length=500, pattern=r"^[^\x00]+$")] = None,
    allowed: Annotated[bool | None, Query(description="What was allowed, or what was denied.")] = None,
    start: Annotated[GivenInstant | None, Query(alias="from")] = None,
    end: Annotated[GivenInstant | None, Query(alias="to", description="Before this instant.")] = None,
) -> Response:
    """List what actors did, and what they were denied; `Link: rel="next"` leads on, however deep."""
    wanted = WantedEntries(
        actor=by,
        action=action,
        target_kind=target_kind,
        target_id=target_id,
        allowed=allowed,
        since=start,
        until=end,
        before=cursor,
    )
    skip = 0 if cursor is not None else (page - 1) * page_size

    def read(connection: Connection) -> tuple[list[AuditEntry], int]:
        found = audit_pages.page(connection, actor.scope, wanted, most=skip + page_size + 1)
        return found[skip:], audit_pages.count(connection, actor.scope, wanted, most=MOST_COUNTED + 1)

    found, total = await services.database.read(read)
    headers = {"Total-Count-Capped": "true"} if total > MOST_COUNTED else {}
    shown = found[:page_size]
    if len(found) > page_size:
        headers["Link"] = next_link(request, page, cursor=shown[-1].id)
    body = {"entries": [_entry_json(entry) for entry in shown], **pages_of(min(total, MOST_COUNTED), page, page_size)}
    return json_response(body, headers=headers)


def _entry_json(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "at": instant_text(entry.at),
        "actor": entry.actor,
        "actorKind": entry.actor_kind,
        "organizationId": entry.organization_id,
        "action": entry.action,
        "targetKind": entry.target_kind,
        "targetId": entry.target_id,
        "allowed": entry.allowed,
        "reason": entry.reason,
        "before": None if entry.before is None else orjson.loads(entry.before),
        "after": None if entry.after is None else orjson.loads(entry.after),
        "requestId": entry.request_id,
        "address": entry.address,
    }
