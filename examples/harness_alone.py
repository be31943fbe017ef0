"""The safety harness without a store: a job that is a plain object, and a consumer that sees every failure."""

import asyncio

from mainspring import Job, JobFailed, JobRunnable


class PregenerateConfigs(JobRunnable[int]):
    """Writes the configuration of every tenant; what it needs is given to it."""

    def __init__(self, tenants: list[str]) -> None:
        """Take the tenants."""
        self._tenants = tenants

    async def run(self) -> Job[int]:
        """Carry it out in the harness."""
        return await Job.run("pregenerate-configs", self._generate)

    async def _generate(self) -> int:
        if not self._tenants:
            raise LookupError("there are no tenants")
        return len(self._tenants)


async def main() -> None:
    """Run it twice: once well, once not."""
    print((await PregenerateConfigs(["acme", "globex"]).run()).unwrap())
    try:
        (await PregenerateConfigs([]).run()).unwrap()
    except JobFailed as failed:
        print(f"{failed.job.name} failed: {failed.__cause__}")


if __name__ == "__main__":
    asyncio.run(main())
