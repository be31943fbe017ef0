"""`/healthz` and `/readyz`: whether this node lives, and whether it should be sent requests."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request, Response

from mainspring.api.problems import NotReadyError, documented_alone
from mainspring.api.responses import json_response
from mainspring.api.services import CurrentServices
from mainspring.errors import SchemaMismatchError, StoreError
from mainspring.runtime.node import Node
from mainspring.store.upkeep import schema

router = APIRouter(tags=["Health"])

STUCK_SECONDS: Final = 60.0
"""By how much the turn of a loop may be late before the node counts as stuck."""
_DATABASE_SECONDS: Final = 5.0


@router.get(
    "/healthz",
    response_class=Response,
    responses={200: {"description": "It lives."}, **documented_alone(NotReadyError)},
)
async def health(request: Request) -> Response:
    """Say whether the loops of this node turn; the database is not asked, so that its trouble restarts nobody."""
    node: Node | None = request.app.state.node
    loops = node.loops if node is not None else ()
    stuck = [f"{loop.name} is {loop.lag:.0f} s late" for loop in loops if loop.lag > STUCK_SECONDS]
    if stuck:
        raise NotReadyError(f"loops of this node are stuck: {', '.join(stuck)}")
    shown = {loop.name: {"lagSeconds": round(loop.lag, 3), "errorsInARow": loop.errors} for loop in loops}
    return json_response({"status": "ok", "loops": shown})


@router.get(
    "/readyz",
    response_class=Response,
    responses={200: {"description": "It is ready."}, **documented_alone(NotReadyError, SchemaMismatchError)},
)
async def readiness(request: Request, services: CurrentServices) -> Response:
    """Say whether this node takes requests: it is not stopping, and the database answers with the right schema.

    The answer waits until the doors are loaded, a second or two after the start: the first request that is sent here
    for a yes is then as fast as any other.
    """
    if request.app.state.draining:
        raise NotReadyError("this node is stopping: send requests to another one")
    await request.app.state.doors.load()
    try:
        async with asyncio.timeout(_DATABASE_SECONDS):
            state = await schema.check(services.database)
    except (StoreError, TimeoutError) as error:
        raise NotReadyError("the database does not answer") from error
    state.require_current()
    return json_response({"status": "ready", "schema": state.database_version})
