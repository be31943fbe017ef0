"""`/api/v1/exports`: the files that exports have made, for their owners alone."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from mainspring.api.callers import actor_who_may
from mainspring.api.problems import documented, documented_answer, problem_response
from mainspring.api.services import CurrentServices
from mainspring.domain.access import Actor, Permission
from mainspring.reports.storage import DOWNLOAD_PATH, ExportNotFoundError
from mainspring.web.download import RangeNotSatisfiableError
from mainspring.web.export_files import DOWNLOAD, export_answer

router = APIRouter(prefix=DOWNLOAD_PATH, tags=["On-demand jobs"])

_NO_SUCH_PART: Final = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
Exporter = Annotated[Actor, Depends(actor_who_may(Permission.EXPORT_REPORTS, DOWNLOAD))]
FileName = Annotated[str, Path(description="The last part of the result's `downloadUrl`.")]
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "The file."},
    206: {"content": {"application/octet-stream": {}}, "description": "The part that `Range` asks for."},
}
documented_answer(_ANSWERS, _NO_SUCH_PART, RangeNotSatisfiableError.code, "The file has no such part.")


# Whatever follows the prefix gets one and the same answer, slashes in it or not.
@router.head("/{file:path}", include_in_schema=False)
@router.get(
    "/{file:path}",
    response_class=Response,
    responses={**_ANSWERS, **documented(400, ExportNotFoundError, 422)},
)
async def download_export(services: CurrentServices, actor: Exporter, request: Request, file: FileName) -> Response:
    """Download a file that one of your exports has made; for some days, by default seven."""
    app, commands, audit = services.app, services.commands.executions, services.audit
    try:
        return await export_answer(request, actor, file, app=app, commands=commands, audit=audit)
    except RangeNotSatisfiableError as refusal:
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes */{refusal.size}"}
        return problem_response(request, _NO_SUCH_PART, refusal.code, str(refusal), headers=headers)
