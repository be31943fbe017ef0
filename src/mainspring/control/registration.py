"""What an application declares, kept when one of its nodes starts, and said where that changes what runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mainspring.domain.code_version import require_ordered
from mainspring.store.jobs import registration
from mainspring.store.scheduling.firing import Firing

if TYPE_CHECKING:
    from mainspring.jobs.registry import JobRegistry
    from mainspring.security.payload_cipher import PayloadCipher
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.world import World

_logger = logging.getLogger(__name__)


async def register_application(
    database: Database,
    registry: JobRegistry,
    *,
    settings: Settings,
    world: World,
    cipher: PayloadCipher,
    path: str | None,
) -> None:
    """Keep all jobs of an application, and retire those that it declared before and declares no more.

    Args:
        database: The store.
        registry: Its jobs.
        settings: The environment, and the version of the code.
        world: Ids.
        cipher: What secrets of payloads are kept in.
        path: Which application it is, `package.module:attribute`; None: nobody can say, and nothing is retired.

    Raises:
        UnorderedVersionError: `MAINSPRING_CODE_VERSION` does not say which code is newer.
    """
    require_ordered(settings.code_version)
    firing = Firing.by(world, settings.environment)
    done = await database.tx(
        lambda connection: registration.register(
            connection,
            firing,
            registry,
            version=settings.code_version,
            encrypt=cipher.encrypt_value,
            application=path,
        )
    )
    if done.superseded:
        _logger.warning(
            "this build (%s) is older than one that has declared %s: their schedules and policies stay as that one "
            "has them",
            settings.code_version or "without a version",
            ", ".join(done.superseded),
        )
    if done.retired:
        _logger.warning("no longer in the code of %s, and retired: %s", path, ", ".join(done.retired))
