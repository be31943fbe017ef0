"""The dead man's switch: somebody outside is told each minute that this system watches, and hears it when it stops."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.egress.client import Egress
from mainspring.errors import EgressFailedError, EgressRefusedError
from mainspring.runtime.loop import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from mainspring.world import World

_logger = logging.getLogger(__name__)

PING_SECONDS: Final = 60.0
STILL_WATCHING: Final = timedelta(seconds=30)
"""A monitor whose last turn that succeeded is older does not watch, and says nothing."""
_DEADLINE: Final = timedelta(seconds=10)
_MAX_BODY_BYTES: Final = 1_000


class DeadMan:
    """Sends `GET` to the address that the operator has set, each minute while the monitor of this node watches.

    Every node with the monitor role pings: the receiver hears silence only when all of them are silent. Services such
    as Healthchecks, Cronitor or Prometheus' dead man's switch take such pings.

    Args:
        url: `MAINSPRING_DEADMAN_URL`; it may name any address.
        world: Time.
        watched_at: Returns the monotonic instant of the monitor's last turn that succeeded; None: there was none.
    """

    def __init__(self, url: str, world: World, watched_at: Callable[[], float | None]) -> None:
        self._url = url
        self._world = world
        self._watched_at = watched_at
        self._egress = Egress(world=world)
        self._is_heard = True

    async def run_once(self) -> Turn:
        """Ping if this node watches."""
        watched_at = self._watched_at()
        if watched_at is None or self._world.monotonic() - watched_at > STILL_WATCHING.total_seconds():
            return Turn(again_in=1.0)
        error = await self._ping()
        if error is not None and self._is_heard:
            _logger.warning("the dead man's switch was not reached: %s; it is tried again each minute", error)
        elif error is None and not self._is_heard:
            _logger.info("the dead man's switch is reached again")
        self._is_heard = error is None
        return Turn(did=1)

    def close(self) -> None:
        """Let go of the threads that look names up."""
        self._egress.close()

    async def _ping(self) -> str | None:
        """Return why the ping was not taken; None: it was."""
        try:
            answer = await self._egress.request(
                "GET", self._url, deadline=_DEADLINE, max_body_bytes=_MAX_BODY_BYTES, set_by_operator=True
            )
        except (EgressRefusedError, EgressFailedError) as error:
            return str(error)
        return None if answer.is_success else f"it answered {answer.status}"
