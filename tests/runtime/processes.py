"""Processes that programs under test have started: who they are, and whether they still run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from pathlib import Path

_SOON = 20.0


async def process_in(file: Path) -> int:
    """Return the id of a process, once somebody has written it to a file."""
    async with asyncio.timeout(_SOON):
        while not (text := file.read_text() if file.exists() else ""):  # noqa: ASYNC240 - a moment
            await RealWorld().sleep(0.02)
    return int(text)


async def gone(process: int) -> None:
    """Return once a process has ended."""
    async with asyncio.timeout(_SOON):
        while is_alive(process):
            await RealWorld().sleep(0.02)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        with open(f"/proc/{process}/stat") as stat:  # noqa: PTH123 - it may vanish
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
