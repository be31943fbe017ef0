"""The harness alone: no store, no server, no settings. `python alone.py`."""

import asyncio

from configs import PregenerateConfigs

from mainspring import JobFailed


async def main() -> None:
    """Run the job twice: once well, once not."""
    job = await PregenerateConfigs(["acme", "globex"]).run()
    print(f"{job.name} is a {job.status}: {job.unwrap()} configurations")
    try:
        (await PregenerateConfigs([]).run()).unwrap()
    except JobFailed as failed:
        print(f"{failed.job.name} failed: {failed.__cause__}")


if __name__ == "__main__":
    asyncio.run(main())
