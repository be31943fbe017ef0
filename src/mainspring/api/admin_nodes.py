"""`/admin/nodes`: who is in the cluster, and what each one runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.deps import CurrentServices
from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission
from mainspring.domain.job_object import instant_text
from mainspring.store.coordination import nodes

if TYPE_CHECKING:
    from mainspring.store.coordination.nodes import StoredNode

router = APIRouter(prefix="/admin/nodes", tags=["Cluster"], dependencies=[only_known_parameters])

Reader = Annotated[Actor, Depends(staff_who_may(Permission.READ_ADMIN_SETTINGS, "node.view"))]


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class NodeRunView(_Shown):
    """An execution that a node runs."""

    id: UUID
    job_name: str
    queue: str
    started_at: datetime | None


class DrainingView(_Shown):
    """Why a node claims nothing."""

    since: datetime
    by: str | None
    reason: str | None


class NodeView(_Shown):
    """One start of a process."""

    id: UUID
    name: str
    host: str
    pid: int
    version: str
    roles: list[str]
    queues: list[str] = Field(description="Those that it serves; none: those of its jobs.")
    slots: int = Field(description="How many executions it runs at once.")
    started_at: datetime
    last_heartbeat: datetime
    heartbeat_age_ms: int
    clock_offset_ms: int = Field(description="How far its clock is ahead of the store's.")
    lost_at: datetime | None = Field(description="When the others took its work; null: it is alive.")
    draining: DrainingView | None
    running: list[NodeRunView] = Field(description="The oldest first, at most 500 over all nodes.")
    orphaned: list[UUID] = Field(description="What a lost one ran when it was lost.")


class NodeList(_Shown):
    """The nodes of an environment."""

    nodes: list[NodeView]
    total: int


@router.get("", response_class=Response, responses={200: {"model": NodeList}, **documented(422)})
async def list_nodes(services: CurrentServices, _actor: Reader) -> Response:
    """List the nodes that are alive, or were lost within a day, by name."""
    environment = services.app.settings.environment
    found = await services.database.read(lambda connection: nodes.find(connection, environment))
    return json_response({"nodes": [_node_json(node) for node in found], "total": len(found)})


def _node_json(node: StoredNode) -> dict[str, Any]:
    draining = node.draining
    return {
        "id": str(node.id),
        "name": node.name,
        "host": node.host,
        "pid": node.pid,
        "version": node.version,
        "roles": list(node.roles),
        "queues": list(node.queues),
        "slots": node.slots,
        "startedAt": instant_text(node.started_at),
        "lastHeartbeat": instant_text(node.last_heartbeat),
        "heartbeatAgeMs": round(node.heartbeat_seconds * 1000),
        "clockOffsetMs": node.clock_offset_ms,
        "lostAt": instant_text(node.lost_at),
        "draining": None
        if draining is None
        else {"since": instant_text(draining.since), "by": draining.by, "reason": draining.reason},
        "running": [
            {
                "id": str(run.id),
                "jobName": run.job_name,
                "queue": run.queue,
                "startedAt": instant_text(run.started_at),
            }
            for run in node.running
        ],
        "orphaned": [str(execution_id) for execution_id in node.orphaned],
    }
