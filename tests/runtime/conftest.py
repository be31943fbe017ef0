"""Applications on a store of their own, with intervals short enough to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring import Mainspring

MakeApp = Callable[..., Mainspring]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Make applications that share one SQLite file; further settings by keyword."""

    def make(**settings: Any) -> Mainspring:
        given = {
            "database_url": f"sqlite:///{tmp_path}/store.db",
            "lease": "2s",
            "heartbeat": "0.2s",
            "poll": "0.2s",
            "shutdown_grace": "5s",
            "log_format": "json",
        }
        return Mainspring(**(given | settings))

    yield make


async def eventually(look: Callable[[], Awaitable[bool]], *, what: str, seconds: float = 10.0) -> None:
    """Return as soon as `look` says yes."""
    async with asyncio.timeout(seconds):
        while not await look():
            await asyncio.sleep(0)
    assert what
