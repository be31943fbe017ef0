"""`/api/v1/exports`: the files that exports have made, for their owners alone."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from mainspring.api.deps import CurrentServices, Services, actor_who_may
from mainspring.api.download import ExportResponse, RangeNotSatisfiableError
from mainspring.api.problems import documented, documented_answer, problem_response
from mainspring.domain.access import Actor, Permission
from mainspring.domain.execution import Execution, Status
from mainspring.errors import ExecutionNotFoundError, MainspringError
from mainspring.reports.storage import DOWNLOAD_PATH, ExportNotFoundError, download_url
from mainspring.security.audit import Target

router = APIRouter(prefix=DOWNLOAD_PATH, tags=["On-demand jobs"])

_ID_LENGTH: Final = 36
_DOWNLOAD: Final = "export.download"
_NO_SUCH_PART: Final = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
Exporter = Annotated[Actor, Depends(actor_who_may(Permission.EXPORT_REPORTS, _DOWNLOAD))]
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
    execution = await _own_export(services, actor, file)
    # The framework takes a line end off the end of an address.
    if execution is None or not request.scope["path"].endswith(download_url(file)):
        raise _missing(actor, file)
    export = await run_in_threadpool(services.app.exports.find, file)
    try:
        if export.modified_at + services.app.settings.export_lifetime <= services.app.world.now():
            raise _missing(actor, file)
        answer = ExportResponse(request, file, export)
        if request.method == "GET":
            await _record(services, actor, execution)
    except MainspringError as refusal:
        await run_in_threadpool(export.close)
        if not isinstance(refusal, RangeNotSatisfiableError):
            raise
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes */{export.size}"}
        return problem_response(request, _NO_SUCH_PART, refusal.code, str(refusal), headers=headers)
    return answer


async def _record(services: Services, actor: Actor, execution: Execution) -> None:
    """Write down who has taken the file, before it leaves; each part of a resumed download counts."""
    target = Target("execution", str(execution.id))
    await services.database.tx(lambda connection: services.audit.record(connection, actor, _DOWNLOAD, target))


def _missing(actor: Actor, file: str) -> ExportNotFoundError:
    return ExportNotFoundError(f"{actor.subject!r} has made no export {file!r}")


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
