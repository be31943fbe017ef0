"""`/api/v1/exports`: the files that exports have made, for their owners alone."""

from __future__ import annotations

import mimetypes
from typing import Annotated, Any, Final, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from mainspring.api.deps import CurrentServices, Services, actor_who_may
from mainspring.api.problems import documented
from mainspring.domain.access import Actor, Permission
from mainspring.domain.execution import Execution, Status
from mainspring.errors import ExecutionNotFoundError
from mainspring.reports.storage import DOWNLOAD_PATH, ExportNotFoundError, download_url

router = APIRouter(prefix=DOWNLOAD_PATH, tags=["On-demand jobs"])

_ID_LENGTH: Final = 36
Exporter = Annotated[Actor, Depends(actor_who_may(Permission.EXPORT_REPORTS, "export.download"))]
FileName = Annotated[str, Path(description="The last part of the result's `downloadUrl`.")]
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The file."},
    206: {"content": {"application/octet-stream": {}}, "description": "The part that `Range` asks for."},
    416: {"description": "The file has no such part."},
}


@router.get(
    "/{file}",
    response_class=FileResponse,
    responses={**_ANSWERS, **documented(400, 404, 422)},
)
async def download_export(services: CurrentServices, actor: Exporter, file: FileName) -> FileResponse:
    """Download a file that one of your exports has made."""
    execution = await _own_export(services, actor, file)
    if execution is None:
        raise ExportNotFoundError(f"{actor.subject!r} has made no export {file!r}")
    path = await run_in_threadpool(services.app.exports.path_of, file)
    media_type = mimetypes.guess_type(file)[0] or "application/octet-stream"
    return FileResponse(path, media_type=media_type, filename=file)


async def _own_export(services: Services, actor: Actor, file: str) -> Execution | None:
    """Return the execution that made a file, if it is the actor's own: its id is the end of the name."""
    try:
        execution_id = UUID(file.rpartition(".")[0][-_ID_LENGTH:])
        execution = await services.commands.get(actor.scope, execution_id)
    except (ValueError, ExecutionNotFoundError):
        return None
    is_own = actor.organization_id is not None and execution.user_id == actor.subject
    made_it = execution.status is Status.SUCCEEDED and _address(execution.result) == download_url(file)
    return execution if is_own and made_it else None


def _address(result: object) -> object:
    return cast("dict[str, object]", result).get("downloadUrl") if isinstance(result, dict) else None
