"""The log of a run: its end, its beginning and the parts between, what is said now, and the whole as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response, StreamingResponse

from mainspring.domain.access import Permission
from mainspring.store.runs import run_logs
from mainspring.web.visible_run import visible_run
from mainspring.web.visit import Visit
from mainspring.web.words_run import RUN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mainspring.domain.execution import Execution
    from mainspring.store.engine.database import Connection
    from mainspring.web.visit import PageVisit

router = APIRouter()
LINES: Final = 500
"""So many are sent at once."""
_LEVELS: Final = {
    "": None,
    "info": ("info", "warning", "error"),
    "warning": ("warning", "error"),
    "error": ("error",),
}
Level = Annotated[str, Query(pattern="^(info|warning|error)?$")]
SearchText = Annotated[str, Query(max_length=200)]
LineId = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


@router.get("/runs/{run_id}/logs")
async def logs(
    visit: Visit,
    run_id: str,
    *,
    level: Level = "",
    search: SearchText = "",
    before: LineId = None,
    after: LineId = None,
) -> HTMLResponse:
    """Show the last lines that the run has said, or those before one of them, or after one; after 0: the first ones."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    execution = await visible_run(visit, run_id)
    first = after is not None
    end, found = await _read(visit, execution, level, search, before=before, after=after, first=first)
    lines = found[:LINES] if first else found[-LINES:]
    has_more = len(found) > LINES
    return visit.fragment(
        "run/logs.html",
        text=RUN,
        run=execution,
        lines=lines,
        has_gap=False,
        has_earlier=after > 0 if first else has_more,
        has_later=has_more if first else before is not None,
        from_top=first,
        end=end,
        level=level,
        search=search,
    )


@router.get("/runs/{run_id}/logs/new")
async def new_lines(
    visit: Visit, run_id: str, after: LineId = 0, level: Level = "", search: SearchText = ""
) -> HTMLResponse:
    """Show the lines that were said after one of them, and tell the page where the log ends now.

    A page that has missed more than is sent at once gets the last ones, and a word about the gap.
    """
    await visit.require(Permission.VIEW_JOBS, staff=False)
    execution = await visible_run(visit, run_id)
    end, lines = await _read(visit, execution, level, search, after=after)
    fragment = visit.fragment("run/log_lines.html", text=RUN, lines=lines[-LINES:], has_gap=len(lines) > LINES)
    fragment.headers["HX-Trigger"] = orjson.dumps({"ms:log-end": {"line": end}}).decode()
    return fragment


@router.get("/runs/{run_id}/log.txt")
async def download(visit: Visit, run_id: str) -> Response:
    """Send the whole log as text."""
    await visit.require(Permission.VIEW_JOBS, staff=False)
    execution = await visible_run(visit, run_id)
    headers = {"Content-Disposition": f'attachment; filename="{execution.id}.log"'}
    return StreamingResponse(_all_lines(visit, execution), media_type="text/plain", headers=headers)


async def _read(
    visit: PageVisit,
    execution: Execution,
    level: str,
    search: str,
    *,
    before: int | None = None,
    after: int | None = None,
    first: bool = False,
) -> tuple[int, Sequence[Any]]:
    """Return the id of the last line, whatever its level and text, and the lines: one more than are sent at once."""

    def read(connection: Connection) -> tuple[int, Sequence[Any]]:
        # First how far the log is, then its lines: what is said in between is shown now, and is not sent once more.
        end = run_logs.end(connection, execution.id)
        levels, text = _LEVELS[level], search.strip("\x00")
        lines = run_logs.lines_of(
            connection,
            execution.id,
            most=LINES + 1,
            last=not first,
            before=before,
            after=after,
            levels=levels,
            text=text,
        )
        return max([end, *(line.id for line in lines[-1:])]), lines

    return await visit.database.read(read)


async def _all_lines(visit: PageVisit, execution: Execution) -> AsyncGenerator[str]:
    """Give the lines a part at a time, so that a long log takes no more memory than a short one."""
    last = 0
    while True:

        def read(connection: Connection, after: int = last) -> Any:  # noqa: ANN401 - rows of either driver
            return run_logs.lines_of(connection, execution.id, after=after, most=LINES)

        lines = await visit.database.read(read)
        yield "".join(f"{line.at.isoformat(timespec='milliseconds')} {line.level} {line.message}\n" for line in lines)
        if len(lines) < LINES:
            return
        last = lines[-1].id
