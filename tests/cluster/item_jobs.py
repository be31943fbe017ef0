"""A processor and a sync that nodes under test run. They note what they do, and wait in the middle for the gate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring import Mainspring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

app = Mainspring()

ITEMS = 50
AT_ONCE = 10
GATED = 25
GATE = Path(os.environ["GATE"])
LEDGER = GATE.with_name("ledger")


def note(job: str, item: int) -> None:
    """Write down which process has worked on what, so that no death of a process takes it back."""
    with LEDGER.open("a", encoding="ascii") as ledger:
        ledger.write(f"{job} {os.getpid()} {item}\n")


async def pass_gate() -> None:
    while not GATE.exists():  # noqa: ASYNC240 - another process opens it
        await app.world.sleep(0.02)


def numbers() -> Iterator[int]:
    yield from range(ITEMS)


@app.processing("noted", source=numbers, chunk_size=AT_ONCE, parallel=2)
async def process(item: int) -> None:
    note("data_processing", item)
    if item == GATED:
        await pass_gate()


async def changes(after: int | None) -> AsyncIterator[tuple[list[int], int]]:
    for number in range(0 if after is None else after + 1, ITEMS):
        yield [number], number


@app.sync("noted", source=changes, batch_size=AT_ONCE)
async def save(records: list[int]) -> None:
    for record in records:
        note("sync", record)
        if record == GATED:
            await pass_gate()
