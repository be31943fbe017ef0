"""Channels with what they work with, and an outbox to dispatch from."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mainspring.alerts.channels.base import ChannelTools
from mainspring.domain.notification import Message, Notification, NotificationStatus, Severity
from mainspring.domain.webhook_signature import new_secret
from mainspring.egress.client import Egress
from mainspring.store.engine.sqlite_database import SqliteDatabase
from mainspring.store.upkeep import schema
from mainspring.world import RealWorld
from tests.egress.conftest import receive
from tests.store.conftest import StoreClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

__all__ = ["receive"]

MESSAGE = Message(
    "weekly-digest failed",
    "It failed <!channel> four times & *stopped*.",
    Severity.ERROR,
    fields={"Attempts": "4", "Last error": "<https://evil.example|click>"},
    link="https://jobs.example/ui/executions/1",
    event="alert.opened",
    data={"job": "weekly-digest"},
)
OF_ACME = new_secret(b"the secret of acme, of the tests")


def notification(
    destination: str = "default",
    *,
    message: Message = MESSAGE,
    channel: str = "webhook",
    organization: str | None = None,
) -> Notification:
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    identity: UUID = RealWorld().new_id()
    return Notification(
        id=identity,
        environment="test",
        channel=channel,
        destination=destination,
        message=message,
        status=NotificationStatus.PENDING,
        attempts=1,
        created_at=at,
        available_at=at,
        organization_id=organization,
    )


@pytest.fixture
def tools() -> Iterator[ChannelTools]:
    """What channels work with; tenants' webhooks may be on loopback."""
    world = RealWorld()
    egress = Egress(["127.0.0.1"], world=world)
    yield ChannelTools(world, egress, lambda organization: [OF_ACME] if organization == "acme" else [], str)
    egress.close()


@pytest.fixture
def clock() -> StoreClock:
    """The store's clock."""
    return StoreClock()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the present schema, to be copied."""
    path = tmp_path_factory.mktemp("outbox") / "template.db"

    async def make() -> None:
        database = _opened(path, StoreClock())
        await database.open()
        await schema.upgrade(database)
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
async def database(migrated_file: Path, tmp_path: Path, clock: StoreClock) -> AsyncIterator[SqliteDatabase]:
    """An open and empty store."""
    database = _opened(Path(shutil.copy(migrated_file, tmp_path / "store.db")), clock)
    await database.open()
    yield database
    await database.close()


def _opened(path: Path, clock: StoreClock) -> SqliteDatabase:
    return SqliteDatabase(f"sqlite:///{path}", schema="mainspring", world=RealWorld(), clock_shift=clock)
