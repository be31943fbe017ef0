"""`validate-api`: whether the API of this process, or the one that people use, lives and is ready."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.builtin.self_check_finding import Finding, Verdict
from mainspring.egress.client import Egress
from mainspring.errors import EgressFailedError, EgressRefusedError, MainspringError

if TYPE_CHECKING:
    from mainspring.world import World

_ENDPOINTS: Final = ("/healthz", "/readyz")
_DEADLINE: Final = timedelta(seconds=4)
_MOST_BYTES: Final = 300


class ApiUnhealthyError(MainspringError):
    """The API answers that something is wrong with it."""

    code = "API_UNHEALTHY"


async def examine_api(url: str | None, world: World) -> list[Finding]:
    """Ask an API for its health.

    Args:
        url: Where it answers; None: no API runs here, and nobody has said where one does.
        world: For the threads that resolve names.
    """
    if url is None:
        told = "no API runs in this process, and nobody has named one: set MAINSPRING_PUBLIC_URL"
        return [Finding("api", Verdict.SKIPPED, told)]
    egress = Egress(world=world)
    try:
        return [await _of_endpoint(egress, url.rstrip("/"), path) for path in _ENDPOINTS]
    finally:
        egress.close()


async def _of_endpoint(egress: Egress, url: str, path: str) -> Finding:
    try:
        answer = await egress.request(
            "GET", f"{url}{path}", deadline=_DEADLINE, max_body_bytes=_MOST_BYTES, set_by_operator=True
        )
    except (EgressFailedError, EgressRefusedError) as error:
        return Finding.of_error(path, error)
    if answer.is_success:
        return Finding(path, Verdict.OK, f"{url}{path} answers {answer.status}")
    said = answer.body.decode("utf-8", "replace")
    return Finding.of_error(path, ApiUnhealthyError(f"{url}{path} answers {answer.status}: {said}"))
