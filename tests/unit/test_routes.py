"""Whom an alert is told to: severity, rules, names, groups, and hours on the clocks of a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainspring.domain.alert import Alert, AlertRule, AlertState, Severity
from mainspring.domain.alert_advice import advice
from mainspring.domain.failure import ErrorClass
from mainspring.domain.route import Hours, Route
from mainspring.errors import DefinitionError
from mainspring.world import RealWorld

NIGHT = Hours(between="22:00-06:00", zone="Europe/Paris")
WORK = Hours(days=("mon", "tue", "wed", "thu", "fri"), between="09:00-18:00", zone="Europe/Paris")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def alert(job: str | None = "billing-close", rule: AlertRule = AlertRule.STALENESS) -> Alert:
    now = at("2026-11-23T12:00")
    return Alert(
        RealWorld().new_id(), "production", rule, job or "default", job, Severity.WARNING, AlertState.OPEN, "", {}, 1,
        None, None, now, now,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("route", "fits"),
    [
        ({}, True),
        ({"severity": "info"}, True),
        ({"severity": "critical"}, False),
        ({"rules": ["staleness", "trend"]}, True),
        ({"rules": ["trend"]}, False),
        ({"jobs": ["mail-*", "billing-*"]}, True),
        ({"jobs": ["billing"]}, False),
        ({"groups": ["finance"]}, True),
        ({"groups": ["mail"]}, False),
        ({"environments": ["production"]}, True),
        ({"environments": ["staging"]}, False),
    ],
)
def test_a_route_takes_what_it_names_and_nothing_else(route: dict[str, Any], fits: bool) -> None:  # noqa: FBT001
    assert Route.read({"channel": "slack", **route}).fits(alert(), "finance") is fits


def test_what_is_no_job_goes_only_where_no_job_is_named() -> None:
    queue = alert(None, AlertRule.QUEUE_DEPTH)
    assert Route("slack").fits(queue, None)
    assert not Route("slack", jobs=("billing-*",)).fits(queue, None)
    assert not Route("slack", groups=("finance",)).fits(queue, None)


@pytest.mark.parametrize(
    ("hours", "instant", "opens"),
    [
        (WORK, "2026-11-23T08:00", "2026-11-23T08:00"),  # Monday 9:00 in Paris
        (WORK, "2026-11-23T07:59", "2026-11-23T08:00"),
        (WORK, "2026-11-23T17:00", "2026-11-24T08:00"),
        (WORK, "2026-11-27T17:00", "2026-11-30T08:00"),  # over the weekend
        (WORK, "2026-03-27T17:00", "2026-03-30T07:00"),  # and over the change to summer time
        (NIGHT, "2026-11-23T21:00", "2026-11-23T21:00"),
        (NIGHT, "2026-11-23T04:59", "2026-11-23T04:59"),
        (NIGHT, "2026-11-23T05:00", "2026-11-23T21:00"),
        (Hours(days=("sat",), between="22:00-06:00"), "2026-11-22T05:00", "2026-11-22T05:00"),  # Saturday's night
        (Hours(days=("sat",), between="22:00-06:00"), "2026-11-21T05:00", "2026-11-21T22:00"),
        (Hours(between="02:30-03:30", zone="Europe/Paris"), "2026-03-29T00:00", "2026-03-29T01:30"),  # a skipped hour
    ],
)
def test_hours_open_on_the_clocks_of_their_zone(hours: Hours, instant: str, opens: str) -> None:
    assert hours.opens_at(at(instant)) == at(opens)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "needs a channel"),
        ({"channel": 7}, "channel is 7: it must be text"),
        ({"channel": "slack", "colour": "red"}, "a route has no 'colour'"),
        ({"channel": "slack", "severity": "loud"}, "severity cannot be read"),
        ({"channel": "slack", "rules": ["luck"]}, "rules cannot be read"),
        ({"channel": "slack", "jobs": "billing"}, "must be a list of texts"),
        ({"channel": "slack", "after": -1}, "it must be 0 to 7 days"),
        ({"channel": "slack", "after": "soon"}, "after cannot be read"),
        ({"channel": "slack", "between": "9-18"}, "write them like 09:00-18:00"),
        ({"channel": "slack", "between": "09:00-24:30"}, "write them like 09:00-18:00"),
        ({"channel": "slack", "days": ["someday"]}, "give some of mon"),
        ({"channel": "slack", "zone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"channel": "slack", "zone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_a_route_that_cannot_be_read_says_what_is_wrong(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(DefinitionError, match=problem):
        Route.read(given)


def test_a_route_is_read_as_it_was_written() -> None:
    route = Route(
        "email", "ops@example.org", "ops", Severity.CRITICAL, (AlertRule.TREND,), ("a*",), ("g",), ("dev",), NIGHT,
        timedelta(minutes=15), "ada",
    )  # fmt: skip
    assert Route.read(route.as_json()) == route


def test_there_is_advice_for_every_rule_and_every_class_of_error() -> None:
    for rule in AlertRule:
        for error_class in (None, *ErrorClass):
            given = advice(rule, error_class)
            assert given.cause.endswith(".")
            assert given.steps
