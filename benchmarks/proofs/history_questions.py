"""Every question that the doors take about history: each filter, the usual pairs, orders, searches, deep pages."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from benchmarks.proofs.history_rows import JOBS, OUTAGE, RAREST_JOB, RAREST_ORGANIZATION
from mainspring.store.runs.index_ends import first_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Question = Callable[[int], str]
    """The address of what is asked for the n-th time."""

CRON_JOBS: Final = "/admin/cron-jobs"
JOBS_OF_TENANTS: Final = "/v1/jobs"
FIRST_PAGE: Final = "runs: first page"
"""What opens the list of runs: it has a budget of its own."""


class Asker(StrEnum):
    """Who asks."""

    STAFF = "staff"
    LARGEST_TENANT = "org-0"
    RAREST_TENANT = RAREST_ORGANIZATION
    MEMBER = "user-4 of org-0"
    DASHBOARD = "dashboard"


def questions(now: datetime) -> dict[Asker, dict[str, Question]]:
    """Return all questions, by who asks them and by what they are about.

    Args:
        now: When the history ends.
    """
    return {
        Asker.STAFF: _of_staff(now),
        Asker.LARGEST_TENANT: _of_tenants(now),
        Asker.RAREST_TENANT: _of_tenants(now),
        Asker.MEMBER: _of_tenants(now),
        Asker.DASHBOARD: _of_dashboard(now),
    }


def _of_staff(now: datetime) -> dict[str, Question]:
    runs: dict[str, Callable[[int], dict[str, object]]] = {
        "first page": lambda _n: {},
        "of all jobs": lambda _n: {"all": True},
        "page by number": lambda n: {"page": n % 399 + 1},
        "deep, by cursor": lambda n: {"cursor": _some_time_ago(now, n)},
        "status=failed": lambda _n: {"status": "failed"},
        "status=cancelled": lambda _n: {"status": "cancelled"},
        "status=running": lambda _n: {"status": "running"},
        "failed, of all jobs": lambda _n: {"status": "failed", "all": True},
        "failed, deep": lambda n: {"status": "failed", "cursor": _some_time_ago(now, n)},
        "jobName": lambda n: {"jobName": _job(n)},
        "jobName, deep": lambda n: {"jobName": _job(n), "cursor": _some_time_ago(now, n)},
        "the rarest job": lambda _n: {"jobName": RAREST_JOB},
        "jobName, failed": lambda n: {"jobName": _job(n), "status": "failed"},
        "jobGroup": lambda n: {"jobGroup": f"group-{n % 20}"},
        "jobGroup, failed": lambda n: {"jobGroup": f"group-{n % 20}", "status": "failed"},
        "jobType": lambda n: {"jobType": f"type-{n % 4}"},
        "jobType, failed": lambda n: {"jobType": f"type-{n % 4}", "status": "failed"},
        "search": lambda n: {"search": f"ob-{n % JOBS}"},
        "search without a match": lambda _n: {"search": "nothing"},
        "from and to": lambda n: _day(now, n),
        "from and to, failed": lambda n: {**_day(now, n), "status": "failed"},
        "from and to, jobName": lambda n: {**_day(now, n), "jobName": _job(n)},
        "the day of failures": lambda _n: {"status": "failed", **_day_of(now - OUTAGE)},
        "fingerprint": lambda n: {"fingerprint": f"error-{n % 20}"},
        "fingerprint, jobName": lambda n: {"fingerprint": f"error-{n % 20}", "jobName": _job(n)},
        "oldest first": lambda _n: {"sort": "createdAt"},
        "jobName, oldest first": lambda n: {"sort": "createdAt", "jobName": _job(n)},
        "failed, oldest first": lambda _n: {"sort": "createdAt", "status": "failed"},
        "100 a page": lambda _n: {"pageSize": 100},
    }
    for trigger in ("cron", "api", "admin", "system", "interval", "startup"):
        runs[f"trigger={trigger}"] = lambda _n, trigger=trigger: {"trigger": trigger}
        runs[f"trigger={trigger}, of all jobs"] = lambda _n, trigger=trigger: {"trigger": trigger, "all": True}
        runs[f"trigger={trigger}, jobName"] = lambda n, trigger=trigger: {"trigger": trigger, "jobName": f"job-{n % 3}"}
    runs["trigger=admin, failed"] = lambda _n: {"trigger": "admin", "status": "failed"}
    asked = {f"runs: {name}": _address(CRON_JOBS, make) for name, make in runs.items()}
    history: dict[str, Callable[[int], dict[str, object]]] = {
        "first page": lambda _n: {},
        "page by number": lambda n: {"page": n % 399 + 1},
        "status=failed": lambda _n: {"status": "failed"},
        "status=skipped": lambda _n: {"status": "skipped"},
    }
    for name, make in history.items():
        asked[f"history of a job: {name}"] = lambda n, make=make: _address(f"/api/jobs/{_job(n)}/history", make)(n)
    asked["statistics of a job"] = lambda n: f"/api/jobs/{_job(n)}/stats"
    asked["runs of objects"] = lambda _n: "/admin/jobs/runs"
    tenants = {
        **{name: _address(JOBS_OF_TENANTS, make) for name, make in _filters_of_tenants(now).items()},
        "organizationId": lambda n: f"{JOBS_OF_TENANTS}?organizationId=org-{n % 300}",
        "organizationId, failed": lambda n: f"{JOBS_OF_TENANTS}?status=failed&organizationId=org-{n % 300}",
    }
    return asked | {f"/v1/jobs: {name}": question for name, question in tenants.items()}


def _of_tenants(now: datetime) -> dict[str, Question]:
    return {f"/v1/jobs: {name}": _address(JOBS_OF_TENANTS, make) for name, make in _filters_of_tenants(now).items()}


def _filters_of_tenants(now: datetime) -> dict[str, Callable[[int], dict[str, object]]]:
    return {
        "first page": lambda _n: {},
        "page by number": lambda n: {"page": n % 399 + 1},
        "deep, by cursor": lambda n: {"cursor": _some_time_ago(now, n)},
        "status=failed": lambda _n: {"status": "failed"},
        "status=running": lambda _n: {"status": "running"},
        "jobType": lambda _n: {"jobType": "sync"},
        "jobType, failed": lambda _n: {"jobType": "sync", "status": "failed"},
    }


def _of_dashboard(now: datetime) -> dict[str, Question]:
    day = now - timedelta(days=3)
    said = (
        "", "status:failed", "-status:succeeded", "job:job-7", "job:job-0 status:failed", "-job:job-0", "group:group-3",
        "type:type-1", "ob-19", "trigger:admin", "trigger:api job:job-2", "-trigger:cron,api", "org:org-7",
        "org:org-0 status:failed", "fingerprint:error-3", "created:<2h", f"created:>{_at(day)} status:failed",
        "started:>20d", "ended:<1d", "duration:>80s", "queue:default", "by:user-5", "attempt:1", "error:broke",
        "tag:none", "payload.format:csv",
    )  # fmt: skip
    lists = {f"runs: {text or 'all'}": _address("/runs", lambda _n, text=text: {"q": text}) for text in said}
    tabs = {f"tabs: {text or 'all'}": _address("/runs/tabs", lambda _n, text=text: {"q": text}) for text in said}
    return lists | tabs


def _address(path: str, make: Callable[[int], dict[str, object]]) -> Question:
    return lambda number: f"{path}?{urlencode(make(number))}"


def _job(number: int) -> str:
    return f"job-{number % JOBS}"


def _some_time_ago(now: datetime, number: int) -> str:
    return str(first_id(now - timedelta(hours=number * 16 % 1_600 + 1)))


def _day_of(start: datetime) -> dict[str, object]:
    return {"from": _at(start), "to": _at(start + timedelta(days=1))}


def _day(now: datetime, number: int) -> dict[str, object]:
    return _day_of(now - timedelta(days=number % 60 + 2))


def _at(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
