"""A node's entry among the nodes of the store: made at its start, held by its heartbeat, made anew when it is lost."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Final

from mainspring.errors import IntegrityError, StoreError
from mainspring.runtime.heartbeat import Heartbeat
from mainspring.settings import program_version
from mainspring.store.coordination import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from mainspring.settings import Settings
    from mainspring.store.coordination.cluster import Occupancy
    from mainspring.store.engine.database import Database
    from mainspring.world import World

_logger = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0


class ClusterEntry:
    """What makes a process a node: an id, a row in the store, and the lease on both.

    Args:
        settings: Names, sizes and the lease.
        database: Where the node is entered.
        roles: What it does.
        world: Clocks, ids and threads.
        on_lost: Called once for each entry whose lease is lost: nothing may run under its id any more.
        occupancy: What the node says of its slots with each beat.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        roles: Sequence[str],
        world: World,
        on_lost: Callable[[], None],
        *,
        occupancy: Callable[[], Occupancy],
    ) -> None:
        self._settings = settings
        self._database = database
        self._roles = tuple(roles)
        self._world = world
        self._on_lost = on_lost
        self._occupancy = occupancy
        self._id = world.new_id()
        self._heartbeat: Heartbeat | None = None
        self._leaving = False

    @property
    def id(self) -> UUID:
        """The id of the present entry; a node that lost its lease goes on under a new one."""
        return self._id

    @property
    def clock_skew(self) -> float:
        """Seconds by which the wall clock is ahead of the store's, as the last heartbeat saw."""
        return self._heartbeat.offset_ms / 1000 if self._heartbeat else 0.0

    async def enter(self) -> None:
        """Enter the node, and begin to beat.

        Raises:
            IntegrityError: The SQLite file is in use by another host.
        """
        settings = self._settings
        entry = cluster.NodeEntry(
            id=self._id,
            environment=settings.environment,
            name=settings.node,
            host=socket.gethostname(),
            pid=os.getpid(),
            roles=self._roles,
            version=program_version(),
            slots=settings.concurrency.lower,
            most_slots=None if settings.concurrency.are_fixed else settings.concurrency.upper,
            queues=settings.queues,
            code_version=settings.code_version,
        )
        if self._database.dialect_name == "sqlite":
            await self._refuse_other_host(entry.host)
        await self._database.tx(
            lambda connection: cluster.register(connection, entry, lease_seconds=settings.lease.total_seconds())
        )
        self._heartbeat = Heartbeat(
            self._database,
            self._id,
            lease=settings.lease,
            interval=settings.heartbeat,
            world=self._world,
            on_lost=self._on_lost,
            occupancy=self._occupancy,
        )
        self._heartbeat.start()

    async def enter_anew(self) -> bool:
        """Enter under a new id, once the store takes it; False: the node is told to leave meanwhile."""
        pause = _FIRST_PAUSE
        while not self._leaving:
            self._id = self._world.new_id()
            try:
                await self.enter()
            except StoreError as error:
                _logger.warning("the node cannot enter the store anew (%s); trying again", error)
                await self._world.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            else:
                return True
        return False

    def stay_out(self) -> None:
        """Do not enter again when the lease is lost: the node is about to leave."""
        self._leaving = True

    async def leave(self) -> None:
        """Stop to beat, and tell the store that the node has stopped."""
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        try:
            await self._database.tx(lambda connection: cluster.leave(connection, self._id))
        except StoreError as error:
            _logger.warning("the store did not hear that this node has stopped (%s); its lease will end", error)

    async def _refuse_other_host(self, host: str) -> None:
        other = await self._database.read(lambda connection: cluster.other_host(connection, host))
        if other is not None:
            raise IntegrityError(
                f"the SQLite file of {self._settings.database_url} is in use by host {other!r}: SQLite serves "
                "processes of one host only. Stop that node, or move to PostgreSQL with `mainspring db copy`"
            )
