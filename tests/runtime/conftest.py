"""Applications on a store of their own, with intervals short enough to wait for."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from tests.runtime.child_attempt import Attempt

if TYPE_CHECKING:
    from tests.runtime.child_attempt import Start

MakeApp = Callable[..., Mainspring]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store of the present version, to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "store.db"

    async def migrate() -> None:
        async with Mainspring(database_url=f"sqlite:///{path}").connected():
            pass

    asyncio.run(migrate())
    return path


@pytest.fixture
def make_app(tmp_path: Path, migrated_file: Path) -> MakeApp:
    """Make applications that share one SQLite file; further settings by keyword."""
    shutil.copy(migrated_file, tmp_path / "store.db")

    def make(**settings: Any) -> Mainspring:
        given: dict[str, Any] = {
            "database_url": f"sqlite:///{tmp_path}/store.db",
            "lease": "2s",
            "heartbeat": "0.2s",
            "poll": "0.2s",
            "shutdown_grace": "5s",
            "log_format": "json",
        }
        return Mainspring(**(given | settings))

    return make


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start attempts at the jobs of `child_jobs`."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    registry = importlib.import_module("child_jobs").app.registry
    attempts: list[Attempt] = []

    def begin(name: str, payload: object = None, **options: Any) -> Attempt:
        attempts.append(Attempt(registry, name, payload, **options))
        return attempts[-1]

    yield begin
    for attempt in attempts:
        await attempt.executor.close()
