"""What Sentry gets from a real node, with the real SDK: each failure once, and how the runs of schedules stand."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest

from mainspring import Mainspring
from mainspring.cli.token import tokens_of
from mainspring.domain.access import Role
from mainspring.world import RealWorld
from tests.cluster.conftest import ServedNode
from tests.cluster.envelope_receiver import EnvelopeReceiver, receiving_envelopes

if TYPE_CHECKING:
    from collections.abc import Generator

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PIN = "what-only-ada-knows"
KEY = "a key that only these tests know, 32 bytes"
JOBS = ("breaks", "breaks-in-child", "unwraps", "second-try")
WATCHED = ("watched", "watched-in-vain")


@dataclass
class Told:
    """What a node has told, and the runs that were asked of it."""

    receiver: EnvelopeReceiver
    runs: dict[str, dict[str, Any]]

    def event_of(self, job: str) -> dict[str, Any]:
        """Return the one event of a job's failure."""
        (event,) = [event for event in self.receiver.events_of(job) if "exception" in event]
        return event


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Generator[Told]:
    """A node that has run each job once, at somebody's request or by its schedule, and has drained."""
    folder = tmp_path_factory.mktemp("told")
    url, clock = f"sqlite:///{folder}/store.db", folder / "clock"
    with receiving_envelopes() as (dsn, receiver):
        settings = {
            "MAINSPRING_APP": "sentry_jobs:app",
            "MAINSPRING_DATABASE_URL": url,
            "MAINSPRING_ENVIRONMENT": "staging",
            "MAINSPRING_LEASE": "10m",  # the clock of the store is set on by more than the usual lease
            "MAINSPRING_POLL": "0.2s",
            "MAINSPRING_SECRET_KEY": KEY,
            "MAINSPRING_SENTRY_DSN": dsn,
            "MAINSPRING_TEST_DATABASE_CLOCK_FILE": str(clock),
            "MAINSPRING_TEST_MODE": "1",
        }
        node = ServedNode("a", settings)
        try:
            node.wait_until_ready()
            app = Mainspring(database_url=url, secret_key=KEY, environment="staging")
            token = tokens_of(app).create("ops", role=Role.ADMIN)
            headers = {"Authorization": f"Bearer {token}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            with httpx2.Client(base_url=node.url, headers=headers, timeout=30) as http:
                runs = {job: http.post(f"/jobs/{job}/run", json={"pin": PIN}).json() for job in JOBS}
                clock.write_text("60")
                while not all(http.get(f"/api/jobs/{job}").json()["lastRun"] for job in WATCHED):
                    RealWorld().pause(0.05)
            node.send(signal.SIGTERM)
            assert node.exit_code() == 0, node.said_in_error()
            yield Told(receiver, runs)
        finally:
            node.close()


def test_a_failure_is_one_event_that_says_whose_it_is(told: Told) -> None:
    event, run = told.event_of("breaks"), told.runs["breaks"]

    assert run["status"] == "FAILED"
    assert event["environment"] == "staging"
    assert event["level"] == "error"
    assert event["transaction"] == "breaks"
    assert event["tags"] == {
        "job": "breaks",
        "execution": run["id"],
        "attempt": "2",
        "node": "a",
        "queue": "mail",
        "trigger": "api",
        "error.class": "unknown",
        "error.code": "JOB_EXECUTION_ERROR",
    }
    job = event["contexts"]["job"]
    assert (job["job"], job["execution"], job["attempt"], job["max_attempts"]) == ("breaks", run["id"], 2, 2)
    assert event["contexts"]["progress"] == {
        "percent": 50, "step": 2, "of": 4, "message": "sending [redacted]", "processed": 0, "failed": 0,
    }  # fmt: skip
    assert event["contexts"]["trace"]["trace_id"] == TRACE


def test_the_event_holds_the_exception_with_the_frames_of_the_job(told: Told) -> None:
    (value,) = told.event_of("breaks")["exception"]["values"]

    assert value["type"] == "ValueError"
    assert value["mechanism"] == {"type": "mainspring", "handled": False}
    frame = value["stacktrace"]["frames"][-1]
    assert (frame["function"], frame["in_app"]) == ("breaks", True)
    assert "vars" not in frame


def test_what_the_handler_said_goes_before_the_failure(told: Told) -> None:
    crumbs = [
        crumb for crumb in told.event_of("breaks")["breadcrumbs"]["values"] if crumb["category"].startswith("job.")
    ]

    assert [(crumb["category"], crumb["message"]) for crumb in crumbs] == [
        ("job.log", "connecting with password=[redacted]"),
        ("job.step", "sending [redacted]"),
    ]
    assert crumbs[0]["data"] == {"host": "mail.example", "attempt": 2}
    assert crumbs[1]["data"] == {"percent": 50, "step": 2, "of": 4}


def test_no_secret_leaves(told: Told) -> None:
    assert "was refused, password=[redacted]" in told.event_of("breaks")["exception"]["values"][0]["value"]
    assert "hunter2" not in told.receiver.text
    assert PIN not in told.receiver.text


def test_a_failure_in_a_child_process_is_told_with_the_frames_of_the_child(told: Told) -> None:
    event = told.event_of("breaks-in-child")

    cause, value = event["exception"]["values"]
    assert (cause["type"], value["type"], value["value"]) == ("KeyError", "LookupError", "no such table in the child")
    frames = value["stacktrace"]["frames"][-2:]
    assert [frame["function"] for frame in frames] == ["breaks_in_child", "raise_in_child"]
    assert "raise LookupError" in frames[-1]["context_line"]
    assert event["contexts"]["job"]["execution"] == told.runs["breaks-in-child"]["id"]
    assert event["contexts"]["trace"]["trace_id"] == TRACE


def test_what_a_handler_tells_sentry_in_a_child_process_is_on_the_failure(told: Told) -> None:
    event = told.event_of("breaks-in-child")

    assert (event["tags"]["warehouse"], event["tags"]["error.code"]) == ("north", "JOB_EXECUTION_ERROR")
    crumbs = [crumb for crumb in event["breadcrumbs"]["values"] if crumb["category"] in {"job.log", "stock"}]
    assert {crumb["message"] for crumb in crumbs} == {"in a child", "counted with [redacted]"}
    assert len(crumbs) == 2


def test_what_a_handler_tells_sentry_in_a_child_process_is_sent_once_with_its_attempt(told: Told) -> None:
    (message,) = [event for event in told.receiver.events if "looks odd" in str(event.get("message"))]

    assert message["message"] == "the count with [redacted] looks odd"
    assert message["tags"]["execution"] == told.runs["breaks-in-child"]["id"]
    assert message["contexts"]["job"]["job"] == "breaks-in-child"
    assert "in a child" in [crumb["message"] for crumb in message["breadcrumbs"]["values"]]


def test_a_job_that_unwraps_another_is_told_as_what_broke_that_one(told: Told) -> None:
    event = told.event_of("unwraps")

    assert [value["type"] for value in event["exception"]["values"]] == ["PermanentError"]


def test_a_try_that_is_repeated_is_no_event(told: Told) -> None:
    assert told.runs["second-try"]["status"] == "COMPLETED"
    assert told.receiver.events_of("second-try") == []


def test_failures_are_grouped_by_job_and_by_what_they_have_in_common(told: Told) -> None:
    fingerprints = {job: told.event_of(job)["fingerprint"] for job in ("breaks", "breaks-in-child", "unwraps")}

    assert [fingerprint[0] for fingerprint in fingerprints.values()] == list(fingerprints)
    assert all(len(fingerprint) == 2 for fingerprint in fingerprints.values())


def test_nothing_else_of_a_failing_job_becomes_an_event(told: Told) -> None:
    named = [event.get("tags", {}).get("job") for event in told.receiver.events if "message" not in event]

    assert sorted(set(named)) == sorted({"breaks", "breaks-in-child", "unwraps", "watched-in-vain"})
    assert [named.count(job) for job in ("breaks", "breaks-in-child", "unwraps")] == [1, 1, 1]


def test_a_run_of_a_schedule_checks_in_over_all_its_attempts_under_one_id(told: Told) -> None:
    first, again, last = told.receiver.check_ins("watched")[:3]

    assert [first["status"], again["status"], last["status"]] == ["in_progress", "in_progress", "ok"]
    assert first["check_in_id"] == again["check_in_id"] == last["check_in_id"] == UUID(first["check_in_id"]).hex
    assert first["environment"] == "staging"
    assert first["monitor_config"] == {
        "schedule": {"type": "interval", "value": 1, "unit": "minute"},
        "timezone": "UTC",
        "checkin_margin": 5,
        "max_runtime": 21,
        "failure_issue_threshold": 3,
        "recovery_threshold": 1,
    }
    assert last["duration"] >= 0


def test_a_run_of_a_schedule_that_fails_checks_in_as_an_error_and_is_an_event(told: Told) -> None:
    first, last = told.receiver.check_ins("watched-in-vain")[:2]

    assert [first["status"], last["status"]] == ["in_progress", "error"]
    event = told.receiver.events_of("watched-in-vain")[0]
    assert UUID(event["tags"]["execution"]).hex == last["check_in_id"]


def test_what_people_start_checks_nothing_in(told: Told) -> None:
    assert told.receiver.check_ins("breaks") == []
