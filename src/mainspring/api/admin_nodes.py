"""`/admin/nodes`: who is in the cluster, and what each one runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mainspring.api.known_parameters import only_known_parameters
from mainspring.api.problems import documented
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.api.staff import staff_who_may
from mainspring.domain.access import Actor, Permission
from mainspring.domain.cluster_size import wanted_nodes
from mainspring.domain.instants import instant_text
from mainspring.store.coordination import nodes
from mainspring.store.coordination.demand import demand

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
    slots: int = Field(description="How many executions it runs at once on its event loop.")
    most_slots: int | None = Field(description="To how many they may grow; null: their number is fixed.")
    busy_share: float = Field(description="Which share of what it could run it has run of late, 0 to 1.")
    memory_bytes: int | None = Field(
        description="What its own process held at its last heartbeat; null: its system does not say."
    )
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


class WantedNodes(_Shown):
    """How many nodes would keep up with the work, and from what that follows."""

    wanted: int = Field(description="0 where nothing waits or runs.")
    nodes: int = Field(description="How many claim now.")
    waiting: int = Field(description="How many executions more nodes could start: what no limit holds back.")
    running: int
    busy_nodes: float = Field(description="To how many full nodes the work of the last seconds comes.")
    ends_per_second: float = Field(description="How many attempts have ended a second of late, over all nodes.")
    target_wait_seconds: float = Field(description="`MAINSPRING_TARGET_WAIT`: how long an execution may wait for room.")


@router.get("", response_class=Response, responses={200: {"model": NodeList}, **documented(422)})
async def list_nodes(services: CurrentServices, _actor: Reader) -> Response:
    """List the nodes that are alive, or were lost within a day, by name."""
    environment = services.app.settings.environment
    found = await services.database.read(lambda connection: nodes.find(connection, environment))
    return json_response({"nodes": [_node_json(node) for node in found], "total": len(found)})


@router.get("/wanted", response_class=Response, responses={200: {"model": WantedNodes}, **documented(422)})
async def count_wanted_nodes(services: CurrentServices, _actor: Reader) -> Response:
    """Say how many nodes would keep up with the work, for an autoscaler (docs/scaling.md)."""
    settings = services.app.settings
    found = await services.database.read(
        lambda connection: demand(connection, settings.environment, organization_limit=settings.org_concurrency)
    )
    return json_response(
        {
            "wanted": wanted_nodes(found, settings.target_wait),
            "nodes": found.nodes,
            "waiting": found.waiting,
            "running": found.running,
            "busyNodes": round(found.busy, 3),
            "endsPerSecond": round(found.ends_per_second, 3),
            "targetWaitSeconds": settings.target_wait.total_seconds(),
        }
    )


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
        "mostSlots": node.most_slots,
        "busyShare": node.busy_share,
        "memoryBytes": node.memory_bytes,
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
