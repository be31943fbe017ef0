"""A consumer that cron starts on every replica, `0 2 * * * python nightly.py`: one works, the others skip.

It unwraps what the job returns, so that a failure ends the program with exit code 1 and a traceback: whoever watches
cron, or Sentry in this program, sees it.
"""

import asyncio
import os
import sys

from configs import PregenerateConfigs

from mainspring import Mainspring, distributed_lock

app = Mainspring()  # where the lock is written down: a SQLite file, or what MAINSPRING_DATABASE_URL says


class NightlyConfigs:
    """The cron handler of the job."""

    def __init__(self, job: PregenerateConfigs) -> None:
        """Take the job."""
        self._job = job

    @distributed_lock("pregenerate-configs", ttl=30)
    async def handle_cron(self) -> int:
        """Run the job, and raise what went wrong; where another replica is at work, warn and return None."""
        return (await self._job.run()).unwrap()


async def main() -> None:
    """Run it once."""
    tenants = os.environ.get("TENANTS", "acme,globex").split(",")
    async with app.connected():
        written = await NightlyConfigs(PregenerateConfigs([tenant for tenant in tenants if tenant])).handle_cron()
    print("another replica is at work" if written is None else f"{written} configurations")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
