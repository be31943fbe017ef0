"""A store with as many executions as a busy month leaves."""

from __future__ import annotations

from datetime import timedelta
from random import Random  # noqa: TID251 - from a seed
from typing import TYPE_CHECKING, Final

from mainspring.domain.execution import Status
from tests.browser.past import Past, PastRun, failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from mainspring import Mainspring

_SPAN: Final = timedelta(days=7)
_JOBS: Final = ("re-engagement-email", "import-orders", "export-catalogue", "sync-partner", "partner-report")
_ERRORS: Final = tuple(
    failure(kind, message)
    for kind, message in (
        ("TimeoutError", "the catalogue does not answer"),
        ("ConnectionResetError", "connection reset by peer"),
        ("KeyError", "'customer_id'"),
    )
)


async def fill(app: Mainspring, node: UUID, executions: int) -> None:
    """Write that many executions of the last days, of several jobs, one in fifty failed.

    Args:
        app: The shop, running.
        node: Its node.
        executions: How many.
    """
    await Past(app, Random(3), node).happens(_runs(executions))


def _runs(executions: int) -> Iterator[PastRun]:
    chance = Random(5)
    for number in range(1, executions + 1):
        failed = chance.random() < 0.02
        yield PastRun(
            job=chance.choice(_JOBS),
            ago=_SPAN * number / executions,
            waited=timedelta(milliseconds=chance.lognormvariate(3, 1)),
            lasted=timedelta(milliseconds=chance.lognormvariate(6, 1)),
            status=Status.FAILED if failed else Status.SUCCEEDED,
            error=chance.choice(_ERRORS) if failed else None,
        )
