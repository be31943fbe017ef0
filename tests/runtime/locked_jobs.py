"""An application that its own child processes import, whose job holds a lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mainspring import JobContext, Mainspring, distributed_lock

app = Mainspring()


@app.job("in-a-child", executor="process")
@distributed_lock("in-a-child", ttl=20)
async def in_a_child(ctx: JobContext[dict[str, Any]], payload: dict[str, str]) -> int | None:
    gate = Path(payload["gate"])
    gate.touch()  # noqa: ASYNC240 - another process looks at it
    while not gate.with_suffix(".open").exists():
        await app.world.sleep(0.02)
    return ctx.lock.fence if ctx.lock else None
