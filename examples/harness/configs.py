"""A job as a plain object: what it needs is given to it, and whoever calls it gets a `Job` that says what happened."""

from mainspring import Job, JobRunnable


class PregenerateConfigs(JobRunnable[int]):
    """Writes the configuration of every tenant; inheriting from `JobRunnable` is allowed and not needed."""

    def __init__(self, tenants: list[str]) -> None:
        """Take the tenants."""
        self._tenants = tenants

    async def run(self) -> Job[int]:
        """Carry it out in the harness: timed, logged, traced, and never raising."""
        return await Job.run("pregenerate-configs", self._generate)

    async def _generate(self) -> int:
        if not self._tenants:
            raise LookupError("there are no tenants")
        return len(self._tenants)
