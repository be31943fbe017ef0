"""The loop that asks services whether they are there, on nodes with the monitor role; one node asks at a time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mainspring.egress.client import Egress
from mainspring.errors import EgressFailedError, EgressRefusedError
from mainspring.runtime.loop import Turn
from mainspring.store.remote import service_checks
from mainspring.store.remote.services import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mainspring.settings import Settings
    from mainspring.store.engine.database import Connection, Database
    from mainspring.store.remote.service_checks import DueCheck
    from mainspring.world import World

_logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 30.0
RECHECK_SECONDS: Final = 10.0
"""After which an unreachable service is asked again: its return is to be seen soon."""
_SPREAD: Final = 0.2
_DEADLINE: Final = timedelta(seconds=5)
_MOST_AT_ONCE: Final = 50
_MAX_BODY_BYTES: Final = 1_000
_SERVER_ERROR: Final = 500


class ServiceHealth:
    """Asks `GET {serviceUrl}/healthz`. Whatever answers is reachable, save with a server error (RFC 9110 §15.6).

    A service need not know that address: an answer that there is nothing shows that it is there. One that hangs, drips
    or never ends costs a deadline of five seconds, beside up to 49 others, and no job waits for it.

    Args:
        database: The store.
        settings: Environment, and where services may be.
        world: Time and chance.
    """

    def __init__(self, database: Database, settings: Settings, world: World) -> None:
        self._database = database
        self._environment = settings.environment
        self._egress = Egress(settings.egress_allow, world=world)
        self._world = world

    async def run_once(self) -> Turn:
        """Ask the services whose check is due, at most 50."""
        # A look first: a transaction that writes would wait for every other writer of an SQLite file.
        again_in = await self._database.read(
            lambda connection: service_checks.seconds_to_next(connection, self._environment)
        )
        if again_in != 0:
            return Turn(again_in=again_in)
        due = await self._database.tx(
            lambda connection: service_checks.take(
                connection, self._environment, most=_MOST_AT_ONCE, again_in=self._spread(CHECK_SECONDS)
            )
        )
        errors = await asyncio.gather(*(self._ask(check) for check in due))
        if due:
            await self._database.tx(lambda connection: self._note(connection, due, errors))
        for check, error in zip(due, errors, strict=True):
            _tell(check, error)
        return Turn(did=len(due), again_in=0.0 if len(due) == _MOST_AT_ONCE else None)

    def close(self) -> None:
        """Let go of the threads that look names up."""
        self._egress.close()

    async def _ask(self, check: DueCheck) -> str | None:
        """Return why a service is not there; None: it is."""
        try:
            answer = await self._egress.request(
                "GET", f"{check.url}/healthz", deadline=_DEADLINE, max_body_bytes=_MAX_BODY_BYTES
            )
        except (EgressRefusedError, EgressFailedError) as error:
            return str(error)
        return None if answer.status < _SERVER_ERROR else f"it answered {answer.status} to GET /healthz"

    def _note(self, connection: Connection, due: Sequence[DueCheck], errors: Sequence[str | None]) -> None:
        for check, error in zip(due, errors, strict=True):
            again_in = None if error is None else self._spread(RECHECK_SECONDS)
            service_checks.note(connection, self._environment, check, error=error, again_in=again_in)

    def _spread(self, seconds: float) -> float:
        return seconds * (1 - _SPREAD / 2 + _SPREAD * self._world.random())


def _tell(check: DueCheck, error: str | None) -> None:
    if error is not None and check.status != UNREACHABLE:
        _logger.warning("service %r is unreachable: %s", check.name, error)
    elif error is None and check.status == UNREACHABLE:
        _logger.info("service %r is reachable again", check.name)
