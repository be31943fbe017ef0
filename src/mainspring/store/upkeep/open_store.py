"""An open store: the database at the right version, and the signals that travel beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mainspring.store.engine.data_version import DataVersionSignals
from mainspring.store.engine.database import open_database
from mainspring.store.engine.signals import NotifySignals, Signals
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.upkeep import schema, schema_image

if TYPE_CHECKING:
    from mainspring.settings import Settings
    from mainspring.store.engine.database import Database
    from mainspring.store.engine.signals import Outward
    from mainspring.world import World


class OpenStore:
    """What the commands and the node of one process share.

    Attributes:
        database: The database, connected.
        signals: What wakes loops, of this process and of others.
    """

    def __init__(self, database: Database, signals: Signals, outward: Outward | None) -> None:
        self.database = database
        self.signals = signals
        self._outward = outward

    @classmethod
    async def open(cls, settings: Settings, world: World) -> OpenStore:
        """Connect, and see to the schema.

        SQLite has nobody else to upgrade it, so that it is made and upgraded here; PostgreSQL must be current.

        Raises:
            DatabaseUnreachableError: The database does not answer.
            SchemaMismatchError: PostgreSQL holds another version of the schema.
        """
        database = open_database(settings, world)
        await database.open()
        try:
            if world.simulated and isinstance(database, SqliteDatabase) and database.in_memory:
                await schema_image.make(database)
            elif database.dialect_name == "sqlite":
                await schema.upgrade(database)
            else:
                (await schema.check(database)).require_current()
        except BaseException:
            await database.close()
            raise
        signals = Signals(world)
        outward = _outward(settings, database, signals, world)
        if outward is not None:
            signals.carry(outward)
        return cls(database, signals, outward)

    async def close(self) -> None:
        """Stop listening and disconnect."""
        if self._outward is not None:
            await self._outward.close()
        await self.database.close()


def _outward(settings: Settings, database: Database, signals: Signals, world: World) -> Outward | None:
    if database.dialect_name == "postgresql":
        dsn = settings.database_direct_url or settings.database_url
        return NotifySignals(database, signals, dsn=dsn, world=world)
    if world.simulated or not isinstance(database, SqliteDatabase) or database.in_memory:
        return None
    return DataVersionSignals(database.path, signals, world=world)
