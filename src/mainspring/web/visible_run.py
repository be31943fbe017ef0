"""The run that a page is about, if its visitor may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from mainspring.errors import ExecutionNotFoundError
from mainspring.store.runs import executions
from mainspring.web.words_run import RUN

if TYPE_CHECKING:
    from mainspring.domain.execution import Execution
    from mainspring.web.visit import PageVisit


def run_id_of(text: str) -> UUID:
    """Return the id that an address names.

    Raises:
        ExecutionNotFoundError: It is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise ExecutionNotFoundError(RUN.missing.format(run=text)) from None


async def visible_run(visit: PageVisit, run_id: str) -> Execution:
    """Return the run that an address names.

    Raises:
        ExecutionNotFoundError: There is none that this visitor may see.
    """
    wanted = run_id_of(run_id)
    found = await visit.database.read(lambda connection: executions.get(connection, visit.scope, wanted))
    if found is None:
        raise ExecutionNotFoundError(RUN.missing.format(run=run_id))
    return found
