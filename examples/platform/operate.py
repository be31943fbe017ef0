"""What an operator does with the jobs of a platform, by its admin API."""

from __future__ import annotations

import argparse
import os

import httpx2

LONGEST_WAIT = 40.0
"""A trigger is answered within half a minute, however long the job takes."""


def operate(platform: httpx2.Client) -> None:
    """Trigger every job, and tell what came of it."""
    status = platform.get("/admin/jobs/status").raise_for_status().json()["data"]
    for job in status["registeredJobs"]:
        result = platform.post(f"/admin/jobs/trigger/{job['name']}").raise_for_status().json()["data"]
        print(f"{job['name']}: {result['status']}, {result['messageCode']}: {result['summary']}")
    status = platform.get("/admin/jobs/status").raise_for_status().json()["data"]
    for job in status["registeredJobs"]:
        print(f"{job['name']}: {job['runCount']} runs, {job['failureCount']} failed, next at {job['nextRunAt']}")
    validation = platform.get("/admin/jobs/platform-validation").raise_for_status().json()["data"]["result"]
    for script in validation["scripts"]:
        print(f"  {script['name']}: {script['status']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:7009")
    bearer = {"Authorization": f"Bearer {os.environ['PLATFORM_TOKEN']}"}
    with httpx2.Client(base_url=parser.parse_args().url, headers=bearer, timeout=LONGEST_WAIT) as client:
        operate(client)
