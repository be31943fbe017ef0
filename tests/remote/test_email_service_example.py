"""`examples/email_service`, as its README says: the scheduler and the service, each a process of its own.

Both walk-throughs of the scheduler document with only the credential added, and each of its four failure scenarios.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from mainspring import Mainspring
from mainspring.cli.access import AccessAtTerminal
from mainspring.cli.token import tokens_of
from mainspring.control.keys import KeyCommands
from mainspring.domain.access import Role
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mainspring.security.keys import NewKey

EXAMPLE = Path(__file__).parents[2] / "examples" / "email_service"
DIGEST, RECAP, RE_ENGAGEMENT = "weekly-trending-digest", "monthly-recap", "re-engagement-email"
PATIENCE_SECONDS = 40.0

# The first of them starts two processes, which a busy machine takes its time for.
pytestmark = pytest.mark.timeout(180)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def credentials(database_url: str, secret_key: str) -> tuple[NewKey, str]:
    """Make the key of the service and the token of an admin, as the commands of the README do."""
    app = Mainspring(database_url=database_url, secret_key=secret_key)
    async with app.connected():
        access = AccessAtTerminal.of(app)
        keys = KeyCommands(access.changes, access.secret_key, app.world)
        key = await keys.create_for_service(access.actor, "email-service", "*")
        return key, tokens_of(app).create("ops", role=Role.ADMIN)


class Installation:
    """The scheduler and the service of the example, each a process of its own in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = {
            "DATABASE_URL": f"sqlite:///{folder}/mainspring.db",
            "SECRET_KEY": "a key that only these tests know, 32 bytes",
            "EGRESS_ALLOW": "127.0.0.1",
            "POLL": "0.2s",
            "APP": "scheduler:app",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
        self.environment = inherited | {f"MAINSPRING_{name}": value for name, value in settings.items()}
        self.environment["PYTHONPATH"] = str(EXAMPLE)
        key, token = asyncio.run(credentials(settings["DATABASE_URL"], settings["SECRET_KEY"]))
        self.node = self.start(sys.executable, "-m", "mainspring", "serve", "--port", "0", stdout=subprocess.PIPE)
        assert self.node.stdout is not None
        url = str(json.loads(self.node.stdout.readline())["url"])
        RealWorld().start_thread(self.read_on, name="output of the node")
        self.port = free_port()
        self.environment |= {
            "EMAIL_SERVICE_KEY": key.key,
            "EMAIL_SERVICE_SIGNING_SECRET": key.signing_secret,
            "SCHEDULER_URL": url,
            "SERVICE_URL": f"http://127.0.0.1:{self.port}",
            "SECONDS_PER_MAIL": "0.01",
        }
        self.client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self.service = self.start_service()

    def start(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=stdout, stderr=subprocess.DEVNULL, text=True
        )

    def read_on(self) -> None:
        """Read what the node says, so that it never waits for a reader."""
        assert self.node.stdout is not None
        with self.node.stdout as lines:
            for _ in lines:
                pass

    def start_service(self) -> subprocess.Popen[str]:
        """Start the service, and return once it has registered its last job."""
        before = self.declared_at(RECAP)
        service = self.start(sys.executable, str(EXAMPLE / "email_service.py"), "--port", str(self.port))
        self.until(lambda: self.declared_at(RECAP) not in {None, before})
        return service

    def declared_at(self, name: str) -> str | None:
        """When the service has last registered a job."""
        return next((job["declaredAt"] for job in self.service_shown().get("jobs", ()) if job["name"] == name), None)

    def service_shown(self) -> dict[str, Any]:
        """What the scheduler knows of the service."""
        answer = self.client.get("/api/services/email-service")
        return answer.json() if answer.status_code == 200 else {}

    def job(self, name: str) -> dict[str, Any]:
        return self.client.get(f"/api/jobs/{name}").json()

    def trigger(self, name: str) -> str:
        answer = self.client.post(f"/api/jobs/{name}/trigger")
        assert answer.status_code == 202, answer.text
        return answer.json()["executionId"]

    def run(self, name: str, execution_id: str) -> dict[str, Any]:
        """Return a run as the history of its job shows it."""
        history = self.client.get(f"/api/jobs/{name}/history", params={"pageSize": 100}).json()["executions"]
        return next(run for run in history if run["id"] == execution_id)

    def ended(self, name: str, execution_id: str) -> dict[str, Any]:
        """Return a run once it has ended."""
        return self.until(lambda: run if (run := self.run(name, execution_id))["completedAt"] is not None else None)

    def until(self, look: Callable[[], Any]) -> Any:
        """Look until there is something to see, and return that."""
        world = RealWorld()
        latest = world.monotonic() + PATIENCE_SECONDS
        while not (seen := look()):
            assert world.monotonic() < latest, "it did not become so"
            world.pause(0.05)
        return seen

    def close(self) -> None:
        self.client.close()
        for process in (self.service, self.node):  # a service without its scheduler would try for its grace to tell it
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation(Path(folder))
        try:
            yield installation
        finally:
            installation.close()


# ---- "Adding a New Email Job (Developer)" --------------------------------------------------------------------------


def test_a_new_job_of_the_service_is_there_and_can_be_triggered(installation: Installation) -> None:
    """`curl http://localhost:7007/api/jobs`, and the trigger, whose body `curl -d` sends as if it were a form."""
    jobs = {job["name"]: job for job in installation.client.get("/api/jobs").json()["jobs"]}
    assert {DIGEST, RECAP, RE_ENGAGEMENT} <= set(jobs)
    documented = {
        "name": RECAP,
        "serviceName": "email-service",
        "serviceUrl": f"http://127.0.0.1:{installation.port}",
        "displayName": "Monthly Recap Email",
        "description": "Send monthly summary of user activity.",
        "cronExpression": "0 10 1 * *",
        "jobType": "email",
        "enabled": False,
    }
    assert documented.items() <= jobs[RECAP].items()

    answer = installation.client.post(
        f"/api/jobs/{RECAP}/trigger",
        content='{"userId":"admin-user-id"}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 202
    assert answer.json()["message"] == "Job triggered successfully"

    run = installation.ended(RECAP, answer.json()["executionId"])
    assert (run["triggeredBy"], run["triggeredByUser"]) == ("admin", "admin-user-id")
    assert (run["status"], run["errorMessage"]) == ("failed", "40 of 41 mails sent")
    assert (run["itemsProcessed"], run["itemsSucceeded"], run["itemsFailed"]) == (41, 40, 1)


def test_a_job_of_the_service_is_run_by_hand_and_waited_for(installation: Installation) -> None:
    """What its last line says of the mails is the result, whoever carried it out."""
    answer = installation.client.post(f"/jobs/{DIGEST}/run", params={"wait": 30})
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED"), answer.text
    assert (answer.json()["name"], answer.json()["result"]["itemsSucceeded"]) == (DIGEST, 40)


# ---- "Tuning Job Schedule (Admin)" and "Emergency Disable (Admin)" -------------------------------------------------


def test_an_admin_tunes_a_schedule_and_it_survives_a_deployment(installation: Installation) -> None:
    preview = installation.client.get(f"/api/jobs/{DIGEST}/preview", params={"cron": "0 10 * * MON"})
    assert preview.json()["words"] == "Every Monday at 10:00 AM"

    edited = installation.client.put(f"/api/jobs/{DIGEST}/cron", json={"cronExpression": "0 10 * * MON"})
    assert edited.status_code == 200
    installation.client.post(f"/api/jobs/{DIGEST}/enable")
    assert installation.job(DIGEST)["nextRunAt"].endswith("T10:00:00.000Z"), "it takes effect at once"

    installation.service.send_signal(signal.SIGTERM)
    installation.service.wait(PATIENCE_SECONDS)
    installation.service = installation.start_service()
    after = installation.job(DIGEST)
    assert (after["cronExpression"], after["enabled"], after["code"]["cronExpression"]) == (
        "0 10 * * MON", True, "0 9 * * MON",
    )  # fmt: skip


# ---- "What could go wrong?" ----------------------------------------------------------------------------------------


def test_an_invalid_cron_expression_changes_nothing(installation: Installation) -> None:
    before = installation.job(RE_ENGAGEMENT)
    refused = installation.client.put(f"/api/jobs/{RE_ENGAGEMENT}/cron", json={"cronExpression": "0 25 * * WED"})

    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (422, "INVALID_CRON", "hour")
    assert installation.job(RE_ENGAGEMENT)["cronExpression"] == before["cronExpression"]


def test_a_job_that_is_running_is_not_started_twice_and_can_be_cancelled(installation: Installation) -> None:
    execution = installation.trigger(RE_ENGAGEMENT)
    again = installation.client.post(f"/api/jobs/{RE_ENGAGEMENT}/trigger")
    assert (again.status_code, again.json()["detail"]) == (409, "Job already running")

    installation.until(lambda: installation.run(RE_ENGAGEMENT, execution)["status"] == "running")
    assert installation.job(RE_ENGAGEMENT)["running"]
    installation.client.post("/api/jobs/bulk", json={"action": "cancel", "names": [RE_ENGAGEMENT]})
    assert installation.ended(RE_ENGAGEMENT, execution)["status"] == "cancelled"


def test_a_job_that_was_disabled_tells_who_did_it_and_is_enabled_again(installation: Installation) -> None:
    reason = {"reason": "the provider is down"}
    assert installation.client.post(f"/api/jobs/{RE_ENGAGEMENT}/disable", json=reason).status_code == 200
    disabled = installation.job(RE_ENGAGEMENT)
    assert (disabled["enabled"], disabled["nextRunAt"]) == (False, None)
    assert (disabled["override"]["by"], disabled["override"]["reason"]) == ("ops", "the provider is down")
    assert disabled["override"]["at"] is not None

    assert installation.client.post(f"/api/jobs/{RE_ENGAGEMENT}/enable").status_code == 200
    assert installation.job(RE_ENGAGEMENT)["nextRunAt"].endswith("T14:00:00.000Z")


def test_a_service_that_goes_down_is_tried_again_while_other_jobs_go_on(installation: Installation) -> None:
    lost = installation.trigger(DIGEST)
    installation.until(lambda: installation.run(DIGEST, lost)["status"] == "running")
    installation.service.kill()
    installation.service.wait(PATIENCE_SECONDS)
    installation.until(lambda: installation.run(DIGEST, lost)["status"] == "retrying")
    shown = installation.until(
        lambda: service if (service := installation.service_shown())["breaker"]["lastError"] else None
    )
    assert "email-service" in shown["breaker"]["lastError"]

    other = installation.trigger("count-subscribers")
    assert installation.ended("count-subscribers", other)["status"] == "succeeded"

    installation.service = installation.start_service()
    run = installation.ended(DIGEST, lost)
    assert (run["status"], run["itemsSucceeded"]) == ("succeeded", 40)
