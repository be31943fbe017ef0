"""The files that exports have made, for their owners alone: the answer of the API, and that of the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from mainspring.domain.execution import Execution, Status
from mainspring.errors import ExecutionNotFoundError, MainspringError
from mainspring.reports.storage import ExportNotFoundError, download_url
from mainspring.security.audit import Audit, Target
from mainspring.web.download import ExportResponse

if TYPE_CHECKING:
    from starlette.requests import Request

    from mainspring.app import Mainspring
    from mainspring.control.executions import ExecutionCommands
    from mainspring.domain.access import Actor

DOWNLOAD: Final = "export.download"
_ID_LENGTH: Final = 36


async def export_answer(
    request: Request, actor: Actor, file: str, *, app: Mainspring, commands: ExecutionCommands, audit: Audit
) -> ExportResponse:
    """Return a file as an answer, and write down who has taken it; each part of a resumed download counts.

    Args:
        request: What asks for it, whole or in part.
        actor: Who asks.
        file: The last part of a result's `downloadUrl`.
        app: The application whose exports these are.
        commands: What knows its executions.
        audit: Is told.

    Raises:
        ExportNotFoundError: The actor has made no such file, or it has ended.
        RangeNotSatisfiableError: The file has no such part.
    """
    execution = await _own_export(commands, actor, file)
    # The framework takes a line end off the end of an address.
    if execution is None or not request.scope["path"].endswith(f"/{file}"):
        raise _missing(actor, file)
    export = await run_in_threadpool(app.exports.find, file)
    try:
        if export.modified_at + app.settings.export_lifetime <= app.world.now():
            raise _missing(actor, file)
        answer = ExportResponse(request, file, export)
        if request.method == "GET":
            target = Target("execution", str(execution.id))
            await app.opened.database.tx(lambda connection: audit.record(connection, actor, DOWNLOAD, target))
    except MainspringError:
        await run_in_threadpool(export.close)
        raise
    return answer


def _missing(actor: Actor, file: str) -> ExportNotFoundError:
    return ExportNotFoundError(f"{actor.subject!r} has made no export {file!r}")


async def _own_export(commands: ExecutionCommands, actor: Actor, file: str) -> Execution | None:
    """Return the execution that made a file, if it is the actor's own: its id is the end of the name."""
    try:
        execution_id = UUID(file.rpartition(".")[0][-_ID_LENGTH:])
        execution = await commands.get(actor.scope, execution_id)
    except (ValueError, ExecutionNotFoundError):
        return None
    is_own = actor.organization_id is not None and execution.user_id == actor.subject
    made_it = execution.status is Status.SUCCEEDED and _address(execution.result) == download_url(file)
    return execution if is_own and made_it else None


def _address(result: object) -> object:
    return cast("dict[str, object]", result).get("downloadUrl") if isinstance(result, dict) else None
