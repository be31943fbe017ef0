"""The application of the node that `./dev prove schedules` measures."""

from __future__ import annotations

from mainspring import Every, Mainspring

app = Mainspring()


@app.job("original", schedule=Every(hours=1), overlap="allow")
async def original() -> None:
    """Do nothing, every hour."""
