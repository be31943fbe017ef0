"""`/ui/workers`: who claims and runs, with what, and who was lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from mainspring.control.nodes import NodeCommands
from mainspring.domain.access import Permission
from mainspring.domain.english import precise
from mainspring.store.coordination import nodes
from mainspring.web.visit import ActingVisit, Visit
from mainspring.web.words_workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from mainspring.store.coordination.nodes import NodeRun, StoredNode

router = APIRouter()
_MOST_RUNS: Final = 5
_RIGHT_CLOCK_MS: Final = 1_000
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ShownNode:
    """A node in words."""

    node: StoredNode
    state: str
    tone: str
    icon: str
    state_note: str
    process: str
    slots: str
    most_slots: str
    runs: Sequence[NodeRun]
    more: str
    orphaned: Sequence[UUID]
    more_orphaned: str
    heartbeat: str
    clock: str
    clock_is_wrong: bool
    memory: str
    action: str
    action_path: str


@router.get("/workers")
async def workers(visit: Visit) -> HTMLResponse:
    """Show the nodes."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return await visit.page("workers.html", title=WORKERS.title, topics="nodes", **await _nodes(visit))


@router.get("/workers/nodes")
async def workers_nodes(visit: Visit) -> HTMLResponse:
    """Show the nodes anew."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment("workers/nodes.html", **await _nodes(visit))


@router.get("/workers/{name}/drain")
async def ask_to_drain(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a node is to claim nothing more."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment(
        "workers/confirm.html",
        title=WORKERS.drain_title.format(name=name),
        body=WORKERS.drain_body,
        old=WORKERS.drain_old,
        new=WORKERS.drain_new,
        verb=WORKERS.drain,
        action=_address(name, "drain"),
        text=WORKERS,
    )


@router.post("/workers/{name}/drain")
async def drain(visit: ActingVisit, name: str, reason: Annotated[str, Form(max_length=1_000)] = "") -> Response:
    """Let a node claim nothing more."""
    await _commands(visit).drain(visit.actor, name, reason=reason or None)
    return visit.done(WORKERS.drained.format(name=name), changed=("nodes",), undo=_address(name, "resume"))


@router.get("/workers/{name}/resume")
async def ask_to_resume(visit: Visit, name: str) -> HTMLResponse:
    """Ask whether a node is to claim again."""
    await visit.require(Permission.READ_ADMIN_SETTINGS)
    return visit.fragment(
        "workers/confirm.html",
        title=WORKERS.resume_title.format(name=name),
        body=WORKERS.resume_body,
        old=WORKERS.drain_new,
        new=WORKERS.drain_old,
        verb=WORKERS.resume,
        action=_address(name, "resume"),
        text=WORKERS,
    )


@router.post("/workers/{name}/resume")
async def resume(visit: ActingVisit, name: str, reason: Annotated[str, Form(max_length=1_000)] = "") -> Response:
    """Let a node claim again."""
    await _commands(visit).resume(visit.actor, name, reason=reason or None)
    return visit.done(WORKERS.resumed.format(name=name), changed=("nodes",), undo=_address(name, "drain"))


def _address(name: str, verb: str) -> str:
    return f"/workers/{quote(name, safe='')}/{verb}"


def _commands(visit: Visit) -> NodeCommands:
    return NodeCommands(visit.database, visit.services.audit, visit.services.opened.signals)


async def _nodes(visit: Visit) -> dict[str, Any]:
    found = await visit.database.read(lambda connection: nodes.find(connection, visit.environment))
    return {
        "nodes": [_shown(node) for node in found],
        "may_change": visit.can(Permission.WRITE_ADMIN_SETTINGS),
        "text": WORKERS,
    }


def _shown(node: StoredNode) -> ShownNode:
    state, tone, icon = _state(node)
    is_wrong = abs(node.clock_offset_ms) >= _RIGHT_CLOCK_MS
    ago = precise(timedelta(seconds=round(node.heartbeat_seconds)))
    action, path = "", ""
    if node.lost_at is None and "worker" in node.roles:
        name = quote(node.name, safe="")
        action = WORKERS.drain if node.draining is None else WORKERS.resume
        path = f"/workers/{name}/{'drain' if node.draining is None else 'resume'}"
    return ShownNode(
        node=node,
        state=state,
        tone=tone,
        icon=icon,
        state_note=_state_note(node),
        process=WORKERS.process.format(pid=node.pid, version=node.version),
        slots=WORKERS.slots_busy.format(running=len(node.running), slots=node.slots),
        most_slots=WORKERS.most_slots.format(slots=node.most_slots) if node.most_slots else "",
        runs=node.running[:_MOST_RUNS],
        more=_more(len(node.running)),
        orphaned=node.orphaned[:_MOST_RUNS],
        more_orphaned=_more(len(node.orphaned)),
        heartbeat=WORKERS.heartbeat_ago.format(ago=ago),
        clock=_clock(node.clock_offset_ms) if is_wrong else WORKERS.clock_right,
        clock_is_wrong=is_wrong,
        memory=_memory(node.memory_bytes),
        action=action,
        action_path=path,
    )


def _memory(held: int | None) -> str:
    return WORKERS.memory_unknown if held is None else WORKERS.megabytes.format(count=held / _MEGABYTE)


def _state(node: StoredNode) -> tuple[str, str, str]:
    if node.lost_at is not None:
        return WORKERS.lost, "stale", "heart-rate-monitor"
    if node.draining is not None:
        return WORKERS.draining, "retry", "player-pause"
    if "worker" not in node.roles:
        return WORKERS.no_worker, "queue", "minus"
    return (WORKERS.working, "run", "loader-2") if node.running else (WORKERS.idle, "ok", "circle-check")


def _state_note(node: StoredNode) -> str:
    if node.draining is None or node.lost_at is not None:
        return ""
    said = WORKERS.draining_because if node.draining.reason else WORKERS.draining_by
    since = node.draining.since.strftime("%H:%M UTC")
    return said.format(since=since, by=node.draining.by, reason=node.draining.reason)


def _more(count: int) -> str:
    return WORKERS.more_runs.format(count=count - _MOST_RUNS) if count > _MOST_RUNS else ""


def _clock(offset_ms: int) -> str:
    amount = precise(timedelta(milliseconds=abs(offset_ms)))
    return (WORKERS.clock_ahead if offset_ms > 0 else WORKERS.clock_behind).format(amount=amount)
