"""The application of the nodes whose ticks are counted: so many schedules that fire every second."""

from __future__ import annotations

import os

from mainspring import Cron, Mainspring

app = Mainspring()


def name_of(number: int) -> str:
    return f"every-second-{number:02}"


for _number in range(int(os.environ.get("SCHEDULES", "0"))):

    @app.job(name_of(_number), schedule=Cron("* * * * * *"), overlap="allow")
    async def every_second() -> None:
        """Do nothing, every second."""
