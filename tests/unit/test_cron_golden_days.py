"""The golden table: what fires on days when clocks change, written down by hand from the zones' rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from mainspring.domain.schedule import Cron, Every

SECOND = timedelta(seconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(expression: str, tz: str, start: str, end: str) -> list[str]:
    """The instants from start (included) to end (excluded), in UTC."""
    instants = Cron(expression, tz=tz).fires(after=at(start) - SECOND, until=at(end) - SECOND)
    return [f"{instant:%m-%d %H:%M}" for instant in instants]


BERLIN_SPRING = ("Europe/Berlin", "2027-03-27 23:00", "2027-03-28 22:00")  # 02:00 becomes 03:00 at 01:00Z
BERLIN_AUTUMN = ("Europe/Berlin", "2027-10-30 22:00", "2027-10-31 23:00")  # 03:00 becomes 02:00 at 01:00Z
NEW_YORK_SPRING = ("America/New_York", "2027-03-14 05:00", "2027-03-15 04:00")  # 02:00 becomes 03:00 at 07:00Z
NEW_YORK_AUTUMN = ("America/New_York", "2027-11-07 04:00", "2027-11-08 05:00")  # 02:00 becomes 01:00 at 06:00Z
CAIRO_SPRING = ("Africa/Cairo", "2027-04-29 10:00", "2027-04-30 10:00")  # 00:00 becomes 01:00 at 22:00Z
CAIRO_AUTUMN = ("Africa/Cairo", "2027-10-28 10:00", "2027-10-29 10:00")  # 24:00 becomes 23:00 at 21:00Z
LORD_HOWE_SPRING = ("Australia/Lord_Howe", "2027-10-02 13:30", "2027-10-03 13:00")  # 02:00 becomes 02:30 at 15:30Z
LORD_HOWE_AUTUMN = ("Australia/Lord_Howe", "2027-04-03 13:00", "2027-04-04 13:30")  # 02:00 becomes 01:30 at 15:00Z
APIA_2011 = ("Pacific/Apia", "2011-12-29 10:00", "2012-01-01 10:00")  # 2011-12-30 never was; 31st from 10:00Z on 30th
CASEY_2018 = ("Antarctica/Casey", "2018-10-06 16:00", "2018-10-07 13:00")  # 04:00 becomes 07:00 at 20:00Z
MONROVIA_1972 = ("Africa/Monrovia", "1972-01-06 12:00", "1972-01-07 12:00")  # 00:00:00 becomes 00:44:30 at 00:44:30Z
KIRITIMATI_1994 = ("Pacific/Kiritimati", "1994-12-30 10:00", "1995-01-01 10:00")  # 1994-12-31 never was


@pytest.mark.parametrize(
    ("expression", "day", "expected"),
    [
        pytest.param("30 2 * * *", BERLIN_SPRING, ["03-28 01:00"], id="fixed time in a gap: first instant after"),
        pytest.param("0 3 * * *", BERLIN_SPRING, ["03-28 01:00"], id="fixed time at the end of a gap"),
        pytest.param("0 2,3 * * *", BERLIN_SPRING, ["03-28 01:00"], id="one instant fires once"),
        pytest.param("0,20,40 2 * * *", BERLIN_SPRING, ["03-28 01:00"], id="a gap full of fixed times fires once"),
        pytest.param("0 2-4 * * *", BERLIN_SPRING, ["03-28 01:00", "03-28 02:00"], id="a range with a gap"),
        pytest.param("*/30 2 * * *", BERLIN_SPRING, [], id="a wildcard minute has nothing to catch up"),
        pytest.param("30 2 * * *", BERLIN_AUTUMN, ["10-31 00:30"], id="fixed time that comes twice: first time"),
        pytest.param("15,45 2 * * *", BERLIN_AUTUMN, ["10-31 00:15", "10-31 00:45"], id="two fixed times"),
        pytest.param("0 2,3 * * *", BERLIN_AUTUMN, ["10-31 00:00", "10-31 02:00"], id="around an overlap"),
        pytest.param("*/30 2 * * *", BERLIN_AUTUMN, [f"10-31 0{h}" for h in ("0:00", "0:30", "1:00", "1:30")], id="*"),
        pytest.param("30 2 * * *", NEW_YORK_SPRING, ["03-14 07:00"], id="New York, gap"),
        pytest.param("30 1 * * *", NEW_YORK_AUTUMN, ["11-07 05:30"], id="New York, overlap"),
        pytest.param("0 0 * * *", CAIRO_SPRING, ["04-29 22:00"], id="midnight is missing"),
        pytest.param("30 23 * * *", CAIRO_AUTUMN, ["10-28 20:30"], id="the last hour comes twice"),
        pytest.param("0 0 * * *", CAIRO_AUTUMN, ["10-28 22:00"], id="midnight after an hour that comes twice"),
        pytest.param("15 2 * * *", LORD_HOWE_SPRING, ["10-02 15:30"], id="a gap of half an hour"),
        pytest.param("45 1 * * *", LORD_HOWE_AUTUMN, ["04-03 14:45"], id="an overlap of half an hour"),
        pytest.param("0 12 30 12 *", APIA_2011, [], id="the day does not exist"),
        pytest.param("0 12 * * *", APIA_2011, ["12-29 22:00", "12-30 22:00", "12-31 22:00"], id="daily around it"),
        pytest.param("0 0 31 12 *", APIA_2011, ["12-30 10:00"], id="the midnight that ends the missing day"),
        pytest.param("0 12 31 12 *", KIRITIMATI_1994, [], id="another day that does not exist"),
        pytest.param("30 5 * * *", CASEY_2018, ["10-06 20:00"], id="a gap of three hours"),
        pytest.param("30 0 * * *", MONROVIA_1972, ["01-07 00:44"], id="a gap of minutes and seconds"),
        pytest.param("30 2 * * *", ("UTC", "2027-03-28 00:00", "2027-03-29 00:00"), ["03-28 02:30"], id="UTC"),
    ],
)
def test_fixed_times_run_once_a_day_when_clocks_change(
    expression: str, day: tuple[str, str, str], expected: list[str]
) -> None:
    assert fires(expression, *day) == expected


@pytest.mark.parametrize("day", [BERLIN_SPRING, BERLIN_AUTUMN, CAIRO_SPRING, CAIRO_AUTUMN, CASEY_2018, APIA_2011])
@pytest.mark.parametrize(("expression", "minutes"), [("0 * * * *", 60), ("*/15 * * * *", 15), ("* * * * *", 1)])
def test_wildcards_keep_their_rhythm_when_clocks_change_by_hours(
    expression: str, minutes: int, day: tuple[str, str, str]
) -> None:
    tz, start, end = day
    instants = list(Cron(expression, tz=tz).fires(after=at(start) - SECOND, until=at(end) - SECOND))

    steps = (at(end) - at(start)) // timedelta(minutes=minutes)
    assert instants == [at(start) + number * timedelta(minutes=minutes) for number in range(steps)]


def test_wildcards_fire_for_each_matching_wall_time_when_clocks_change_by_half_an_hour() -> None:
    assert fires("30 * * * *", "Australia/Lord_Howe", "2027-10-02 13:15", "2027-10-02 17:15") == [
        "10-02 14:00",
        "10-02 15:00",
        "10-02 15:30",
        "10-02 16:30",
    ]
    assert fires("30 * * * *", "Australia/Lord_Howe", "2027-04-03 13:15", "2027-04-03 16:15") == [
        "04-03 13:30",
        "04-03 14:30",
        "04-03 15:00",
        "04-03 16:00",
    ]


def test_the_seconds_field_changes_nothing_about_clock_changes() -> None:
    minute = timedelta(minutes=1)
    spring, autumn = at("2027-03-28 01:00"), at("2027-10-31 00:30")
    thrice = Cron("*/20 30 2 * * *", tz="Europe/Berlin")

    assert list(thrice.fires(spring - 60 * minute, spring + 60 * minute)) == [spring]
    assert list(thrice.fires(autumn - 60 * minute, autumn + 120 * minute)) == [
        autumn,
        autumn + 20 * SECOND,
        autumn + 40 * SECOND,
    ]


def test_every_counts_elapsed_time_through_clock_changes() -> None:
    daily = Every(hours=24, anchor=at("2027-03-27 12:00"))

    assert daily.next_after(at("2027-03-27 12:00")) == at("2027-03-28 12:00")
    assert daily.next_after(at("2027-03-28 11:59")) == at("2027-03-28 12:00")


def test_days_that_a_zone_skipped_are_told() -> None:
    noon = Cron("0 12 * * *", tz="Pacific/Apia")
    wednesday = Cron("0 12 * * WED", tz="Pacific/Apia")  # 2011-12-30 was to be a Friday
    start, end = at("2011-12-01 00:00"), at("2012-02-01 00:00")

    assert list(noon.missing_days(start, end)) == [date(2011, 12, 30)]
    assert list(wednesday.missing_days(start, end)) == []
    assert (
        list(Cron("30 2 * * *", tz="Europe/Berlin").missing_days(at("2027-01-01 00:00"), at("2028-01-01 00:00"))) == []
    )


@pytest.mark.parametrize(
    ("expression", "tz", "instant", "words"),
    [
        ("30 2 * * *", "Europe/Berlin", "2027-03-28 01:00", "2:30 AM does not exist on 2027-03-28"),
        ("0 2,3 * * *", "Europe/Berlin", "2027-03-28 01:00", "2:00 AM does not exist on 2027-03-28"),
        ("30 2 * * *", "Europe/Berlin", "2027-10-31 00:30", "the first of two 2:30 AM"),
        ("*/30 * * * *", "Europe/Berlin", "2027-10-31 01:30", "the second of two 2:30 AM"),
        ("15 30 2 * * *", "Europe/Berlin", "2027-10-31 00:30:15", "the first of two 2:30:15 AM"),
    ],
)
def test_a_firing_that_a_clock_change_touched_says_so(expression: str, tz: str, instant: str, words: str) -> None:
    note = Cron(expression, tz=tz).describe_clock_change(at(instant))

    assert note is not None
    assert note.startswith(words)


@pytest.mark.parametrize(
    ("expression", "tz", "instant"),
    [
        ("0 3 * * *", "Europe/Berlin", "2027-03-28 01:00"),
        ("0 * * * *", "Europe/Berlin", "2027-03-28 01:00"),
        ("30 2 * * *", "Europe/Berlin", "2027-03-29 00:30"),
        ("30 2 * * *", "UTC", "2027-03-28 02:30"),
        ("0 0 30,31 12 *", "Pacific/Apia", "2011-12-30 10:00"),
    ],
)
def test_a_firing_that_no_clock_change_touched_says_nothing(expression: str, tz: str, instant: str) -> None:
    assert Cron(expression, tz=tz).describe_clock_change(at(instant)) is None
