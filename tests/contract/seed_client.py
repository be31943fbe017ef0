"""A client of the on-demand jobs, written from the words of `on-demand-jobs.md` alone, with the standard library alone.

Nothing of mainspring is imported here, and nothing is used that the document does not say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable

INITIAL_SECONDS = 2
RUNNING_SECONDS = 5
QUEUED_SECONDS = 10
"""Polling Recommendations. "Completed jobs: No polling needed"."""
GOING_ON = {"queued": QUEUED_SECONDS, "retrying": QUEUED_SECONDS, "running": RUNNING_SECONDS}


@dataclass(frozen=True, slots=True)
class SeedClient:
    """Talks to one server as one user.

    Attributes:
        server: For instance `http://localhost:3000`.
        token: The bearer token.
        wait: Waits for some seconds.
    """

    server: str
    token: str
    wait: Callable[[float], None]

    def create(self, job_type: str, payload: dict[str, Any], *, priority: int = 0, max_retries: int = 3) -> str:
        """Create a job and return its id."""
        body = {"jobType": job_type, "payload": payload, "priority": priority, "maxRetries": max_retries}
        answer = self._ask("POST", "/v1/jobs", body)
        assert answer["message"] == "Job created successfully"
        return answer["jobId"]

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the job, its progress, and what can be done with it."""
        return self._ask("GET", f"/v1/jobs/{job_id}/status")

    def follow(self, job_id: str, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Poll as often as the document recommends, tell each status, and return the job once it has ended."""
        pause = INITIAL_SECONDS
        while True:
            job = self.status(job_id)["job"]
            tell(job)
            if job["status"] not in GOING_ON:
                return job
            self.wait(pause)
            pause = GOING_ON[job["status"]]

    def find(self, **filters: Any) -> list[dict[str, Any]]:
        """Return all jobs that match, page by page."""
        found: list[dict[str, Any]] = []
        page, pages = 1, 1
        while page <= pages:
            listed = self._ask("GET", f"/v1/jobs?{urlencode({**filters, 'page': page, 'pageSize': 25})}")
            found += listed["jobs"]
            page, pages = page + 1, listed["totalPages"]
        return found

    def cancel(self, job_id: str) -> str:
        """Cancel a job."""
        return self._ask("POST", f"/v1/jobs/{job_id}/cancel")["message"]

    def retry(self, job_id: str) -> str:
        """Run a failed job again."""
        return self._ask("POST", f"/v1/jobs/{job_id}/retry")["message"]

    def download(self, job: dict[str, Any]) -> bytes:
        """Return the file of an export that has succeeded."""
        return self._send("GET", job["result"]["downloadUrl"])

    def _ask(self, method: str, address: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self._send(method, address, body))

    def _send(self, method: str, address: str, body: dict[str, Any] | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.server}{address}", data=content, headers=headers, method=method)  # noqa: S310 - ours
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
            return answer.read()
