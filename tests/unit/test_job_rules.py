"""The rules about a job, each by a table: what is a breach, what is none, and what the sentence says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from mainspring.domain.alert import AlertRule, Severity
from mainspring.domain.baseline import baseline_of, hour_of_week, usual
from mainspring.domain.execution import Status
from mainspring.domain.firing_policy import FiringPolicy
from mainspring.domain.health import HealthState, Held, Unwatched, health_of
from mainspring.domain.rules.back_test import back_test
from mainspring.domain.rules.job_rules import RULES, breaches_of
from mainspring.domain.rules.staleness import Timetable, expectation, staleness
from mainspring.domain.rules.watched_job import Run, Streak, WatchedJob
from mainspring.domain.schedule import Cron, Every, OnStartup, Schedule
from mainspring.domain.thresholds import Thresholds
from mainspring.domain.trend import Line, theil_sen

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)  # a Monday
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
HOURLY = Timetable(schedule=Every(HOUR), since=NOW - DAY)


def run(ago: timedelta = MINUTE, *, seconds: float = 1, items: int = 100, ok: bool = True) -> Run:
    ended = NOW - ago
    return Run(
        execution_id=UUID(int=int(ago.total_seconds())),
        status=Status.SUCCEEDED if ok else Status.FAILED,
        started_at=ended - seconds * SECOND,
        completed_at=ended,
        duration=seconds * SECOND,
        items=items,
        fingerprint=None if ok else "f00d",
        error=None if ok else "disk full\nat line 3",
    )


def job(*runs: Run, limits: Thresholds | None = None, **said: Any) -> WatchedJob:
    facts: dict[str, Any] = {"now": NOW, "counted_until": NOW - 5 * SECOND, **said}
    return WatchedJob(name="job", runs=runs, thresholds=limits or Thresholds(), **facts)


def many(count: int, failed: int, every: timedelta = MINUTE) -> list[Run]:
    """Return runs of which the oldest failed."""
    return [run(number * every, ok=number <= count - failed) for number in range(1, count + 1)]


def hours(count: int, **said: Any) -> list[Run]:
    return [run(number * HOUR, **said) for number in range(1, count + 1)]


FRESH = run(SECOND)
CASES: list[tuple[str, AlertRule, WatchedJob, str | None]] = [
    ("two failures are none too many", AlertRule.CONSECUTIVE_FAILURES, job(streak=Streak(failures=2)), None),
    (
        "three are",
        AlertRule.CONSECUTIVE_FAILURES,
        job(run(ok=False), streak=Streak(failures=3), failed=3),
        "job has failed 3 times in a row, and 3 are too many: disk full",
    ),
    (
        "a limit of one",
        AlertRule.CONSECUTIVE_FAILURES,
        job(run(ok=False), streak=Streak(failures=1), limits=Thresholds(consecutive_failures=1)),
        "job has failed once, and one failure is too many: disk full",
    ),
    (
        "one success of two ends nothing",
        AlertRule.CONSECUTIVE_FAILURES,
        job(
            streak=Streak(successes=1),
            breached=frozenset({AlertRule.CONSECUTIVE_FAILURES}),
            limits=Thresholds(recovery=2),
        ),
        "job succeeds again, 1 time of the 2 in a row that end this alert",
    ),
    (
        "two successes of two end it",
        AlertRule.CONSECUTIVE_FAILURES,
        job(
            streak=Streak(successes=2),
            breached=frozenset({AlertRule.CONSECUTIVE_FAILURES}),
            limits=Thresholds(recovery=2),
        ),
        None,
    ),
    ("nine runs say little", AlertRule.FAILURE_RATE, job(*many(9, 9)), None),
    ("two of ten are allowed", AlertRule.FAILURE_RATE, job(*many(10, 2)), None),
    (
        "three of ten are not",
        AlertRule.FAILURE_RATE,
        job(*many(10, 3)),
        "3 of the last 10 runs of job failed, 30%, and 20% are allowed",
    ),
    (
        "a little more than a fifth looks like more",
        AlertRule.FAILURE_RATE,
        job(*many(49, 10)),
        "10 of the last 49 runs of job failed, 20.4%, and 20% are allowed",
    ),
    ("failures of the day before are past", AlertRule.FAILURE_RATE, job(*many(20, 10, every=2 * HOUR)), None),
    ("no limit of time", AlertRule.EXECUTION_TIME, job(run(SECOND, seconds=999)), None),
    (
        "too long",
        AlertRule.EXECUTION_TIME,
        job(run(SECOND, seconds=6), limits=Thresholds(execution_time=5 * SECOND)),
        "a run of job took 6 s, and 5 s is its limit",
    ),
    (
        "in time",
        AlertRule.EXECUTION_TIME,
        job(run(SECOND, seconds=5), limits=Thresholds(execution_time=5 * SECOND)),
        None,
    ),
    (
        "still running",
        AlertRule.EXECUTION_TIME,
        job(running_since=NOW - 90 * SECOND, limits=Thresholds(execution_time=MINUTE)),
        "a run of job has been going on for 1 min 30 s, and 1 min is its limit",
    ),
    (
        "too fast",
        AlertRule.TOO_FAST,
        job(run(SECOND, seconds=0.2), limits=Thresholds(shortest_time=SECOND)),
        "a run of job succeeded after 200 ms, and less than 1 s is suspicious",
    ),
    (
        "a fast failure is no success",
        AlertRule.TOO_FAST,
        job(run(SECOND, seconds=0.2, ok=False), limits=Thresholds(shortest_time=SECOND)),
        None,
    ),
    ("ten an hour", AlertRule.TOO_OFTEN, job(*many(10, 0), limits=Thresholds(runs_per_hour=10)), None),
    (
        "eleven an hour",
        AlertRule.TOO_OFTEN,
        job(*many(11, 0), limits=Thresholds(runs_per_hour=10)),
        "11 runs of job began within an hour, and 10 is its limit",
    ),
    (
        "nothing done",
        AlertRule.RESULT_ASSERTION,
        job(run(SECOND, items=0), limits=Thresholds(least_items=1)),
        "job succeeded with 0 items, and 1 is the least",
    ),
    (
        "a failure need not have done anything",
        AlertRule.RESULT_ASSERTION,
        job(run(SECOND, items=0, ok=False), limits=Thresholds(least_items=1)),
        None,
    ),
    (
        "far less than on other Mondays",
        AlertRule.RESULT_ASSERTION,
        job(
            run(SECOND, items=100),
            *(run(number * 7 * DAY, items=1_000) for number in range(1, 6)),
            limits=Thresholds(share_of_usual_items=0.2),
        ),
        "job succeeded with 100 items, and at least 20% of 1000, the median of 5 runs on Mondays, are expected",
    ),
    (
        "three Mondays are not enough",
        AlertRule.RESULT_ASSERTION,
        job(
            run(SECOND, items=100),
            *(run(number * 7 * DAY, items=1_000) for number in range(1, 4)),
            limits=Thresholds(share_of_usual_items=0.2),
        ),
        None,
    ),
    (
        "an unusual duration",
        AlertRule.ANOMALY_DURATION,
        job(run(SECOND, seconds=60), baseline=baseline_of(hours(20, seconds=10)), limits=Thresholds(anomaly=6)),
        "a run of job took 1 min, 100.0 deviations more than usual: 10 s ± 500 ms is usual over 20 runs",
    ),
    (
        "the same hour of the week is known",
        AlertRule.ANOMALY_DURATION,
        job(
            run(SECOND, seconds=60),
            baseline=baseline_of(
                [*hours(20, seconds=60), *(run(number * 7 * DAY + MINUTE, seconds=20) for number in range(1, 10))]
            ),
            limits=Thresholds(anomaly=6),
        ),
        (
            "a run of job took 1 min, 40.0 deviations more than usual: 20 s ± 1 s is usual on a Monday at 11:00 UTC "
            "over 9 runs"
        ),
    ),
    (
        "nobody wants to know what is unusual",
        AlertRule.ANOMALY_DURATION,
        job(run(SECOND, seconds=60), baseline=baseline_of(hours(20, seconds=10))),
        None,
    ),
    (
        "unusually many items",
        AlertRule.ANOMALY_ITEMS,
        job(run(SECOND, items=200), baseline=baseline_of(hours(20)), limits=Thresholds(anomaly=6)),
        "a run of job processed 200 items, 20.0 deviations more than usual: 100 ± 5 are usual over 20 runs",
    ),
    (
        "unusually many failures",
        AlertRule.ANOMALY_FAILURE,
        job(
            *(run(number * MINUTE, ok=number > 5) for number in range(1, 21)),
            baseline=baseline_of(hours(100)),
            limits=Thresholds(anomaly=6),
        ),
        "5 of the last 20 runs of job failed, 10.8 deviations more than usual: 1.0% of 100 runs did before",
    ),
    (
        "unusual silence",
        AlertRule.ANOMALY_SILENCE,
        job(run(3 * HOUR), baseline=baseline_of(hours(20)), limits=Thresholds(anomaly=6)),
        "job has not succeeded for 3 h, 40.0 deviations longer than usual: 1 h ± 3 min over 19 runs",
    ),
    (
        "it grows towards its timeout",
        AlertRule.TREND,
        job(
            timeout=HOUR,
            baseline=baseline_of([run(number * DAY, seconds=3_000 - 60 * number) for number in range(1, 21)]),
            limits=Thresholds(trend_days=30),
        ),
        "job takes 1 min longer each day, as 20 days say: it will pass its timeout of 1 h in about 10 days",
    ),
    (
        "it has grown up to its timeout",
        AlertRule.TREND,
        job(
            timeout=3_000 * SECOND,
            baseline=baseline_of([run(number * DAY, seconds=3_000 - 60 * number) for number in range(1, 21)]),
            limits=Thresholds(trend_days=30),
        ),
        "job takes 1 min longer each day, as 20 days say: it will pass its timeout of 50 min within a day",
    ),
    (
        "it grows, and has time",
        AlertRule.TREND,
        job(
            timeout=HOUR,
            baseline=baseline_of([run(number * DAY, seconds=3_000 - 60 * number) for number in range(1, 21)]),
            limits=Thresholds(trend_days=5),
        ),
        None,
    ),
]


@pytest.mark.parametrize(("rule", "watched", "sentence"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_rule_says_what_it_finds(rule: AlertRule, watched: WatchedJob, sentence: str | None) -> None:
    found = RULES[rule](watched)
    assert (None if found is None else found.sentence) == sentence
    if found is not None:
        assert found.deduplication_key == f"{rule}:job"
        assert found.figures


def test_every_rule_that_holds_for_a_job_has_a_case() -> None:
    assert {case[1] for case in CASES if case[3] is not None} == set(RULES)


@pytest.mark.parametrize(
    ("watched", "threshold"),
    [
        (job(), 30 * MINUTE),
        (job(run(30 * MINUTE, seconds=60)), 6 * MINUTE + MINUTE),
        (job(run(30 * MINUTE, seconds=60), limits=Thresholds(staleness=2 * MINUTE)), 2 * MINUTE),
    ],
    ids=["nothing is known", "a tenth of the interval and the usual duration", "its own"],
)
def test_the_threshold_of_staleness(watched: WatchedJob, threshold: timedelta) -> None:
    expected = expectation(watched, HOURLY)
    assert expected is not None
    assert expected.stale_at - expected.due == expected.threshold == threshold


def test_the_grace_is_at_least_a_minute_and_at_most_an_hour() -> None:
    for schedule, grace in ((Every(MINUTE), MINUTE), (Cron("0 0 * * MON"), HOUR)):
        expected = expectation(job(run(seconds=0)), Timetable(schedule=schedule, since=NOW - DAY))
        assert expected is not None
        assert expected.threshold == grace


def test_a_run_under_way_is_no_silence_until_its_timeout_unless_the_job_says_otherwise() -> None:
    working = job(run(61 * MINUTE), running_since=NOW - 59 * MINUTE, timeout=2 * HOUR)
    since = Timetable(schedule=Every(HOUR), since=NOW - DAY, answered=NOW - 61 * MINUTE)
    expected = expectation(working, since)
    assert expected is not None
    assert expected.stale_at == NOW - 59 * MINUTE + 2 * HOUR + MINUTE
    strict = job(running_since=NOW - 59 * MINUTE, limits=Thresholds(staleness=30 * MINUTE))
    assert staleness(strict, since) is not None


def test_the_sentence_of_a_silent_job_has_all_figures() -> None:
    silent = job(run(4 * HOUR, seconds=60))
    timetable = Timetable(schedule=Every(HOUR), since=NOW - DAY, answered=NOW - 4 * HOUR + MINUTE)
    found = staleness(silent, timetable, why="x")
    assert found is not None
    assert found.severity is Severity.CRITICAL
    assert found.sentence == (
        "job was due 3 h ago and has not succeeded since: 7 min is 6 min of grace and its usual duration; its last "
        "success began 2026-06-01 07:59:00 UTC; 4 instants of its schedule passed; x"
    )
    assert found.figures["missed"] == 4
    assert found.figures["dueAt"] == NOW - 3 * HOUR


@pytest.mark.parametrize("schedule", [None, OnStartup()])
def test_a_job_that_nobody_expects_is_never_stale(schedule: OnStartup | None) -> None:
    assert expectation(job(run(30 * DAY)), Timetable(schedule=schedule, since=NOW - DAY)) is None


def test_a_schedule_that_has_ended_expects_nothing() -> None:
    over = Timetable(schedule=Every(HOUR), since=NOW - DAY, policy=FiringPolicy(ends_at=NOW - 2 * DAY))
    assert expectation(job(), over) is None


def test_a_job_that_fails_in_a_row_is_not_told_as_silent_besides() -> None:
    failing = job(run(ok=False), streak=Streak(failures=3))
    assert [breach.rule for breach in breaches_of(failing, HOURLY)] == [AlertRule.CONSECUTIVE_FAILURES]
    assert [breach.rule for breach in breaches_of(job(), HOURLY)] == [AlertRule.STALENESS]


def test_how_a_job_is_doing_is_the_worst_that_holds() -> None:
    late = Timetable(schedule=Cron("58 * * * *"), since=NOW - 30 * MINUTE)
    slow = job(run(3 * MINUTE, seconds=10), limits=Thresholds(execution_time=SECOND))

    def state(watched: WatchedJob, timetable: Timetable = HOURLY, **said: Any) -> HealthState:
        return health_of(watched, timetable, breaches_of(watched, timetable), **said).state

    today = Timetable(schedule=Every(HOUR), since=NOW)
    assert state(job(run()), today) is HealthState.HEALTHY
    assert state(job(), today) is HealthState.UNKNOWN
    assert state(job(run(2 * HOUR)), late) is HealthState.LATE
    assert state(slow, today) is HealthState.SLOW
    assert state(slow, late) is HealthState.LATE
    assert state(job(run(3 * HOUR))) is HealthState.STALE
    assert state(job(run(ok=False), streak=Streak(failures=3))) is HealthState.FAILING
    assert state(job(run(3 * HOUR)), held=Held(HealthState.PAUSED)) is HealthState.PAUSED
    assert state(job(run(3 * HOUR)), today, unwatched=Unwatched(NOW - 2 * HOUR, NOW - MINUTE)) is HealthState.UNKNOWN
    assert state(job(run(3 * HOUR)), today, unwatched=Unwatched(NOW - 2 * MINUTE, NOW - MINUTE)) is HealthState.HEALTHY


def test_only_what_was_due_while_nobody_watched_is_unknown() -> None:
    outage = Unwatched(NOW - 2 * HOUR + 30 * SECOND, NOW - MINUTE)

    def state(watched: WatchedJob, schedule: Schedule | None) -> HealthState:
        return health_of(watched, Timetable(schedule=schedule, since=outage.end), [], unwatched=outage).state

    yearly, hourly, asked_for = Cron("0 0 1 1 *"), Cron("30 * * * *"), None
    before = job(run(3 * HOUR))
    assert [state(before, schedule) for schedule in (yearly, hourly, asked_for, OnStartup())] == [
        HealthState.HEALTHY, HealthState.UNKNOWN, HealthState.HEALTHY, HealthState.HEALTHY,
    ]  # fmt: skip
    assert state(job(run(SECOND)), hourly) is HealthState.HEALTHY, "it has run since"
    ten = Cron("0 10 * * *")
    assert state(before, ten) is HealthState.UNKNOWN, "due half a minute before the outage, and it did not run"
    assert state(job(run(2 * HOUR - 10 * SECOND)), ten) is HealthState.HEALTHY, "it ran before the outage"
    for own, expected in ((4 * HOUR, HealthState.HEALTHY), (2 * HOUR, HealthState.UNKNOWN)):
        assert state(job(run(3 * HOUR), limits=Thresholds(staleness=own)), asked_for) is expected


def test_what_is_usual_is_not_moved_by_a_few_wild_figures() -> None:
    found = usual([10.0] * 20 + [10_000.0] * 5)
    assert found is not None
    assert (found.middle, found.spread, found.samples) == (10.0, 0.5, 25)
    assert usual([1.0] * 7) is None
    assert hour_of_week(NOW) == 12
    assert hour_of_week(NOW - SECOND - 12 * HOUR) == 167


def test_the_line_is_not_moved_by_a_few_wild_points() -> None:
    points = [(float(x), 2.0 * x) for x in range(20)]
    points[3] = points[11] = (3.0, 900.0)
    found = theil_sen(points)
    assert found is not None
    assert found.slope == pytest.approx(2.0)
    assert theil_sen(points[:9]) is None
    assert Line(slope=-1.0, intercept=5.0).reaches(9.0) is None


def test_a_back_test_says_how_often_a_rule_would_have_fired_and_where() -> None:
    oks = "0001111000011100110"  # 0 is a failure; read from the oldest to the newest
    past = [run((len(oks) - index) * HOUR, ok=ok == "1") for index, ok in enumerate(oks)]
    found = back_test(AlertRule.CONSECUTIVE_FAILURES, job(), HOURLY, past, 90 * DAY)
    assert found.sentence == "consecutive_failures would have fired 2 times in 90 d, over 19 runs"
    assert [(alert.opened_at, alert.resolved_at) for alert in found.alerts] == [
        (past[2].completed_at, past[3].completed_at),
        (past[9].completed_at, past[11].completed_at),
    ]
    stricter = job(limits=Thresholds(consecutive_failures=1))
    assert len(back_test(AlertRule.CONSECUTIVE_FAILURES, stricter, HOURLY, past, DAY).alerts) == 4


def test_a_back_test_finds_past_silences() -> None:
    past = [run(ago * HOUR, seconds=60) for ago in (20, 19, 18, 12, 11, 3)]
    found = back_test(AlertRule.STALENESS, job(), HOURLY, past, DAY)
    assert [(alert.opened_at.hour, alert.resolved_at and alert.resolved_at.hour) for alert in found.alerts] == [
        (19, 0), (2, 9), (10, None),
    ]  # fmt: skip


def test_a_back_test_of_what_is_unusual_learns_only_from_the_past() -> None:
    past = [run(ago * HOUR, seconds=60 if ago == 5 else 10) for ago in range(1, 80)]
    found = back_test(AlertRule.ANOMALY_DURATION, job(limits=Thresholds(anomaly=6)), HOURLY, past, 90 * DAY)
    assert [alert.opened_at for alert in found.alerts] == [NOW - 5 * HOUR]


def test_a_back_test_finds_unusual_silences_between_runs_and_after_the_last() -> None:
    past = [run(ago * HOUR, seconds=60) for ago in (*range(100, 50, -1), *range(40, 5, -1))]
    limits = Thresholds(anomaly=6)
    found = back_test(AlertRule.ANOMALY_SILENCE, job(limits=limits), HOURLY, past, 90 * DAY)
    silent_after = HOUR + 6 * 3 * MINUTE + 5 * SECOND
    assert [(alert.opened_at, alert.resolved_at) for alert in found.alerts] == [
        (NOW - 51 * HOUR + silent_after, NOW - 40 * HOUR), (NOW - 6 * HOUR + silent_after, None),
    ]  # fmt: skip
    assert found.alerts[0].sentence.startswith("job has not succeeded for 1 h 18 min, 6.0 deviations longer than usual")
    working = job(limits=limits, running_since=NOW - 5 * HOUR)
    assert len(back_test(AlertRule.ANOMALY_SILENCE, working, HOURLY, past, 90 * DAY).alerts) == 1
