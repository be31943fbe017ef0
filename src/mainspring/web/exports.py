"""`/ui/exports/{file}`: the files that one's exports have made, under the session of the dashboard."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from mainspring.domain.access import Permission
from mainspring.web.export_files import export_answer
from mainspring.web.visit import Visit

router = APIRouter()


@router.get("/exports/{file}")
async def download_export(visit: Visit, file: str) -> Response:
    """Download a file."""
    await visit.require(Permission.EXPORT_REPORTS, staff=False)
    services = visit.services
    return await export_answer(
        visit.request, visit.actor, file, app=services.app, commands=services.commands.executions, audit=services.audit
    )
