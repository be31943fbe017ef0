"""What a schedule is besides its instants: a value, a text, a name for start-up."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mainspring.domain.schedule import (
    Cron,
    CronError,
    Every,
    NaiveInstantError,
    OnStartup,
    jitter_for,
    parse_schedule,
)
from mainspring.errors import DefinitionError

NOON = datetime(2027, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "normalized"),
    [
        ("0 9 * * MON", "0 9 * * 1"),
        ("  05   09\t* * mon-fri ", "5 9 * * 1-5"),
        ("@daily", "0 0 * * *"),
        (" @DAILY ", "0 0 * * *"),
        ("0 30 2 * * *", "30 2 * * *"),
        ("*/1 * ? jan,DEC ?", "* * * 1,12 *"),
        ("0 0 L,LW,015W * 7,7L,sun#1", "0 0 L,LW,15W * 0,0L,0#1"),
        ("7/20 5/1 1-31/02 * FRI-SUN", "7/20 5/1 1-31/2 * 5-0"),
        ("0 0 * * 5-7", "0 0 * * 5-7"),
    ],
)
def test_an_expression_has_a_normal_form(expression: str, normalized: str) -> None:
    assert Cron(expression).normalized == normalized


def test_schedules_that_read_the_same_are_equal() -> None:
    assert Cron("0 9 * * MON", tz="Europe/Rome") == Cron("00 09 * * 1", tz="Europe/Rome")
    assert hash(Cron("0 9 * * MON", tz="Europe/Rome")) == hash(Cron("00 09 * * 1", tz="Europe/Rome"))
    assert Cron("0 9 * * MON", tz="Europe/Rome") != Cron("0 9 * * MON")
    assert Cron("0 9 * * MON") != Cron("0 9 * * TUE")
    assert Every(minutes=60) == Every(timedelta(hours=1)) == Every(timedelta(minutes=30), minutes=30)
    assert hash(Every(minutes=60)) == hash(Every(hours=1))
    assert Every(minutes=60) != Every(minutes=60, anchor=NOON)
    assert OnStartup() == OnStartup()


def test_a_star_is_not_the_same_as_all_its_numbers() -> None:
    assert Cron("0 * * * *") != Cron("0 0-23 * * *")


@pytest.mark.parametrize("schedule", [Cron("0 9 * * MON", tz="Europe/Rome"), Every(hours=1, anchor=NOON), OnStartup()])
def test_a_schedule_survives_copying_and_pickling(schedule: Cron | Every | OnStartup) -> None:
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):  # noqa: S301 - our own bytes
        assert other == schedule
        assert other.next_after(NOON) == schedule.next_after(NOON)


def test_a_schedule_shows_what_it_was_made_from() -> None:
    assert repr(Cron("0 9 * * MON", tz="Europe/Rome")) == "Cron(expression='0 9 * * MON', tz='Europe/Rome')"


def test_the_next_instant_is_strictly_after_and_in_utc() -> None:
    cron = Cron("0 14 * * *", tz="Europe/Rome")

    assert cron.next_after(NOON) == NOON + timedelta(days=1)
    assert cron.next_after(NOON - timedelta(microseconds=1)) == NOON
    assert cron.next_after(NOON.astimezone(timezone(timedelta(hours=9)))) == NOON + timedelta(days=1)
    assert (cron.next_after(NOON) or NOON).tzinfo is UTC


def test_fires_leaves_out_its_start_and_takes_in_its_end() -> None:
    hourly = Cron("0 * * * *")

    assert list(hourly.fires(NOON, NOON + timedelta(hours=2))) == [NOON + timedelta(hours=1), NOON + timedelta(hours=2)]
    assert list(hourly.fires(NOON, NOON)) == []


@pytest.mark.parametrize("schedule", [Cron("0 9 * * *"), Every(hours=1)])
def test_a_naive_instant_is_refused(schedule: Cron | Every) -> None:
    naive = NOON.replace(tzinfo=None)

    with pytest.raises(NaiveInstantError, match="has no time zone"):
        schedule.next_after(naive)
    with pytest.raises(NaiveInstantError):
        Every(hours=1, anchor=naive)


def test_an_interval_is_counted_from_its_anchor() -> None:
    assert Every(hours=5).next_after(NOON) == datetime(2027, 6, 1, 15, tzinfo=UTC)  # 503295 hours after 1970
    assert Every(hours=5, anchor=NOON).next_after(NOON) == NOON + timedelta(hours=5)
    assert Every(hours=5, anchor=NOON).next_after(NOON - timedelta(hours=6)) == NOON - timedelta(hours=5)
    assert Every(days=300_000).next_after(datetime(9500, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "interval", [timedelta(0), timedelta(seconds=-1), timedelta(microseconds=999), timedelta(microseconds=1500)]
)
def test_an_interval_that_is_not_in_whole_milliseconds_is_refused(interval: timedelta) -> None:
    with pytest.raises(DefinitionError, match="whole number of milliseconds, at least one"):
        Every(interval)


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (Every(minutes=5), "Every 5 minutes"),
        (Every(hours=1), "Every hour"),
        (Every(seconds=1), "Every second"),
        (Every(milliseconds=1), "Every millisecond"),
        (Every(milliseconds=250), "Every 250 milliseconds"),
        (Every(minutes=90), "Every 90 minutes"),
        (Every(days=1), "Every 24 hours"),
        (Every(weeks=2), "Every 14 days"),
        (Every(days=365), "Every 365 days"),
        (Every(days=1, hours=2, seconds=3), "Every 1 day, 2 hours and 3 seconds"),
        (Every(milliseconds=1500), "Every 1 second and 500 milliseconds"),
    ],
)
def test_an_interval_reads_as_a_sentence(every: Every, words: str) -> None:
    assert every.describe() == words


def test_start_up_has_no_next_instant() -> None:
    assert OnStartup().next_after(NOON) is None
    assert OnStartup().describe() == "When the application starts"


def test_a_crontab_schedule_is_an_expression_a_macro_or_a_start() -> None:
    assert parse_schedule("@reboot") == parse_schedule(" @REBOOT ") == OnStartup()
    assert parse_schedule("@hourly", "Europe/Rome") == Cron("0 * * * *", tz="Europe/Rome")
    assert parse_schedule("*/5 * * * *") == Cron("*/5 * * * *")
    with pytest.raises(CronError):
        parse_schedule("soon")


def test_jitter_is_the_same_on_every_machine_and_spreads_over_its_window() -> None:
    window = timedelta(minutes=5)
    delays = {jitter_for(f"job-{number}", window) for number in range(1000)}

    assert jitter_for("weekly-digest", window) == timedelta(seconds=67, microseconds=859892)
    assert len(delays) > 990
    assert min(delays) < window * 0.05
    assert max(delays) > window * 0.95
    assert jitter_for("weekly-digest", timedelta(0)) == timedelta(0)
