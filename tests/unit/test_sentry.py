"""What Sentry is told, and that nothing waits for it; with a real node in `tests/cluster/test_sentry.py`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sentry_sdk

from mainspring.domain.failure import ErrorClass, Failure
from mainspring.domain.job import JobDefinition
from mainspring.domain.retry import Retry
from mainspring.domain.schedule import Cron, Every, OnStartup
from mainspring.domain.thresholds import Thresholds
from mainspring.errors import ConfigurationError
from mainspring.observability.run_identity import RunIdentity
from mainspring.observability.sentry import Sentry, flush_sentry, open_sentry
from mainspring.observability.sentry_events import failure_event, tags
from mainspring.observability.sentry_monitors import monitor_config, monitor_slug
from mainspring.settings import Settings
from mainspring.world import RealWorld
from tests.sentry_transport import Kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mainspring.domain.job import Schedule

RUN = RunIdentity("digest", "0199-7", 1, "cron", "a")
TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/jobs.py", line 7, in digest
    send(letter)
  File "/srv/app/mail.py", line 42, in send
    raise LookupError(letter)
LookupError: letter 12
"""
FAILURE = Failure(ErrorClass.UNKNOWN, "LookupError", "JOB_EXECUTION_ERROR", "letter 12", TRACEBACK, "0123456789abcdef")


# Monitors ------------------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, tuple[Schedule | None, dict[str, Any] | None]] = {
    "a crontab": (Cron("0 9 * * MON"), {"type": "crontab", "value": "0 9 * * MON"}),
    "a macro": (Cron("@daily"), {"type": "crontab", "value": "@daily"}),
    "any day, said twice": (Cron("0 9 ? * MON"), {"type": "crontab", "value": "0 9 * * MON"}),
    "minutes": (Every(minutes=90), {"type": "interval", "value": 90, "unit": "minute"}),
    "hours": (Every(hours=36), {"type": "interval", "value": 36, "unit": "hour"}),
    "days": (Every(hours=48), {"type": "interval", "value": 2, "unit": "day"}),
    "seconds, which Sentry does not know": (Every(seconds=90), None),
    "a crontab with seconds": (Cron("30 0 9 * * MON"), None),
    "the start of a node": (OnStartup(), None),
    "none": (None, None),
}


@pytest.mark.parametrize(("schedule", "told"), SCHEDULES.values(), ids=SCHEDULES)
def test_a_monitor_is_told_the_schedule(schedule: Schedule | None, told: dict[str, Any] | None) -> None:
    config = monitor_config(schedule, JobDefinition("digest"))

    assert (config["schedule"] if config else None) == told


def test_a_monitor_knows_how_late_how_long_and_how_often_is_trouble() -> None:
    definition = JobDefinition(
        "digest",
        timeout=timedelta(minutes=10),
        retry=Retry(max_retries=2, base=timedelta(minutes=1), jitter=0),
        thresholds=Thresholds(staleness=timedelta(minutes=30), consecutive_failures=2),
    )

    assert monitor_config(Cron("0 9 * * *", tz="Europe/Paris"), definition) == {
        "schedule": {"type": "crontab", "value": "0 9 * * *"},
        "timezone": "Europe/Paris",
        "checkin_margin": 30,
        "max_runtime": 33,
        "failure_issue_threshold": 2,
        "recovery_threshold": 1,
    }


def test_a_run_is_given_no_longer_than_sentry_takes() -> None:
    config = monitor_config(Cron("@monthly"), JobDefinition("digest", timeout=timedelta(days=60)))

    assert config is not None
    assert config["max_runtime"] == 28 * 24 * 60


def test_two_jobs_never_share_a_monitor() -> None:
    names = ["digest", "Digest", "di.gest", "di-gest", "d" * 60, "d" * 61]
    slugs = [monitor_slug(name) for name in names]

    assert len(set(slugs)) == len(names)
    assert all(len(slug) <= 50 for slug in slugs)
    assert slugs[0] == "digest"


# Events --------------------------------------------------------------------------------------------------------------


def test_a_failure_of_another_process_has_the_frames_of_its_traceback() -> None:
    (value,) = failure_event(RUN, FAILURE, None, None)["exception"]["values"]

    assert (value["type"], value["value"]) == ("LookupError", "letter 12")
    assert value["stacktrace"]["frames"] == [
        {"filename": "jobs.py", "abs_path": "/srv/app/jobs.py", "lineno": 7, "function": "digest"},
        {"filename": "mail.py", "abs_path": "/srv/app/mail.py", "lineno": 42, "function": "send"},
    ]


def test_an_event_is_grouped_by_its_job_and_the_fingerprint_of_the_history() -> None:
    assert failure_event(RUN, FAILURE, None, None)["fingerprint"] == ["digest", "0123456789abcdef"]


def test_a_tag_is_one_line_of_200_characters() -> None:
    told = tags({"job": "two\nlines", "node": "n" * 500, "attempt": None})

    assert told["job"] == "two lines"
    assert len(told["node"]) <= 200
    assert "attempt" not in told


# The client ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_client() -> Iterator[None]:
    """Leave no client behind: it is one of the whole process."""
    yield
    sentry_sdk.get_global_scope().set_client(None)


@pytest.mark.usefixtures("no_client")
def test_nobody_who_does_not_ask_is_told() -> None:
    assert open_sentry(Settings(database_url="sqlite://")) is None


@pytest.mark.usefixtures("no_client")
@pytest.mark.parametrize("dsn", ["sentry", "https://sentry.example/1", "https://key@sentry.example/"])
def test_what_is_no_dsn_is_refused_with_the_name_of_the_setting(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="MAINSPRING_SENTRY_DSN: it is no DSN"):
        open_sentry(Settings(database_url="sqlite://", sentry_dsn=dsn))  # pyright: ignore[reportArgumentType]


def test_a_package_that_is_missing_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    monkeypatch.delitem(sys.modules, "sentry_sdk")
    monkeypatch.setitem(sys.modules, "sentry_sdk.integrations.dedupe", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'mainspring\[sentry\]'"):
        open_sentry(Settings(database_url="sqlite://", sentry_dsn="https://key@sentry.example/1"))  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("no_client")
def test_a_program_that_has_a_client_of_its_own_keeps_it() -> None:
    sentry_sdk.init(dsn="https://own@sentry.example/1", transport=Kept(), default_integrations=False)
    own = sentry_sdk.get_client()

    assert open_sentry(Settings(database_url="sqlite://", sentry_dsn="https://ours@sentry.example/2")) is not None  # pyright: ignore[reportArgumentType]
    assert sentry_sdk.get_client() is own


def test_the_sdk_is_not_loaded_where_nobody_asks() -> None:
    program = "import sys, mainspring.app, mainspring.runtime.node; print('sentry_sdk' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert ended.stdout.strip() == "False"


@pytest.mark.usefixtures("no_client")
def test_an_organization_is_told_as_a_hash_that_takes_the_dsn_to_make() -> None:
    seen: list[str] = []
    for dsn in ("https://one@sentry.example/1", "https://two@sentry.example/1"):
        kept = Kept()
        sentry_sdk.init(dsn=dsn, transport=kept, default_integrations=False)
        sentry = Sentry()
        for organization in ("acme", "acme", "other"):
            with sentry.attempt(RUN, {}, organization=organization) as scope:
                sentry.send(sentry.prepare(RUN, FAILURE, None), scope)
        seen += [event["tags"]["organization"] for event in kept.told]

    assert (seen[0] == seen[1], len(set(seen))) == (True, 4)
    assert "acme" not in "".join(seen)


@pytest.mark.usefixtures("no_client")
def test_nothing_waits_for_a_sentry_that_does_not_answer() -> None:
    world = RealWorld()
    settings = Settings(database_url="sqlite://", sentry_dsn="http://key@127.0.0.1:9/1")  # pyright: ignore[reportArgumentType]
    sentry = open_sentry(settings)
    assert sentry is not None

    began = world.monotonic()
    for _ in range(200):
        sentry.send(sentry.prepare(RUN, FAILURE, None))
    flush_sentry(0.1)

    assert world.monotonic() - began < 5


# The ends of services ------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(no_client: None) -> Kept:
    """A client of the process, and what it is told."""
    kept = Kept()
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=kept, default_integrations=False)
    return kept


def test_a_failure_in_a_service_is_told_with_what_the_service_said(kept: Kept) -> None:
    run = RunIdentity("digest", str(UUID(int=7)), 2, "cron", None, f"00-{'a' * 32}-{'b' * 16}-01", "mailer")
    Sentry().tell_end(run, FAILURE, seconds=1.5)

    event, check_in = kept.told
    assert (event["tags"]["service"], event["contexts"]["trace"]["trace_id"]) == ("mailer", "a" * 32)
    assert event["exception"]["values"][0]["value"] == "letter 12"
    assert (check_in["check_in_id"], check_in["status"], check_in["duration"]) == (UUID(int=7).hex, "error", 1.5)


def test_a_run_that_a_service_has_carried_out_well_only_checks_in(kept: Kept) -> None:
    run = RunIdentity("digest", str(UUID(int=7)), 1, "interval", service="mailer")
    Sentry().tell_end(run, None, seconds=1.5)
    Sentry().tell_end(replace(run, trigger="api"), None, seconds=1.5)

    assert [told.get("status") for told in kept.told] == ["ok"]
