"""A cron handler on every pod, and one run in the whole cluster: a lock on Redis or Valkey, without a store.

Start a server, then two of these at once: `REDIS_URL=redis://localhost:6379 python locked_job.py`.
"""

import asyncio
import os

from mainspring import Job, JobRunnable, RedisLocks, current_lock, distributed_lock

LOCKS = RedisLocks(os.environ.get("REDIS_URL", "redis://localhost:6379"), environment="example")


class PregenerateConfigs(JobRunnable[int]):
    """Writes the configuration of every tenant."""

    async def run(self) -> Job[int]:
        """Carry it out in the harness."""
        return await Job.run("pregenerate-configs", self._generate)

    async def _generate(self) -> int:
        lock = current_lock()
        await asyncio.sleep(0.5)  # noqa: TID251 - stands for work, which hands the fence to whatever it writes to
        return lock.fence if lock else 0


class PregenerateConfigsCron:
    """What the scheduler of each pod calls."""

    def __init__(self, job: PregenerateConfigs) -> None:
        """Take the job."""
        self._job = job

    @distributed_lock("pregenerate-configs", ttl=30, backend=LOCKS)
    async def handle_cron(self) -> int:
        """Run the job and unwrap its result, so that a failure reaches whoever watches."""
        return (await self._job.run()).unwrap()


async def main() -> None:
    """Be two pods at once."""
    pods = [PregenerateConfigsCron(PregenerateConfigs()) for _ in range(2)]
    fences = await asyncio.gather(*(pod.handle_cron() for pod in pods))
    ran = [fence for fence in fences if fence is not None]
    print(f"{len(ran)} of {len(pods)} pods ran the job")


if __name__ == "__main__":
    asyncio.run(main())
