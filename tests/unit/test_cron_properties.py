"""What holds for every expression, zone and instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mainspring.domain.schedule import Cron, CronError, Every, jitter_for

ZONES = [
    *("UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana"),
    *("Antarctica/Troll", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca", "Asia/Kathmandu", "America/Nuuk"),
]
END = datetime(9000, 1, 1, tzinfo=UTC)


def field(low: int, high: int, *marks: str) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.one_of(st.just("*"), st.tuples(number, number).map(lambda pair: f"{pair[0]}-{pair[1]}"))
    stepped = st.tuples(st.one_of(span, number.map(str)), st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    item = st.one_of(span, stepped, number.map(str), *(st.just(mark) for mark in marks))
    return st.lists(item, min_size=1, max_size=3).map(",".join)


DAYS = field(1, 31, "L", "LW", "15W", "31W", "?")
WEEKDAYS = field(0, 7, "5L", "0#1", "3#5", "FRI-MON", "?")
five_fields = st.tuples(field(0, 59), field(0, 23), DAYS, field(1, 12, "NOV-FEB"), WEEKDAYS)
six_fields = st.tuples(field(0, 59), five_fields.map(" ".join))
expressions = st.one_of(five_fields, six_fields).map(" ".join).filter(lambda text: len(text) <= 100)
zones = st.sampled_from(ZONES)
instants = st.datetimes(datetime(1930, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - in UTC


def cron_or_skip(expression: str, tz: str) -> Cron:
    try:
        return Cron(expression, tz=tz)
    except CronError as error:
        assume(condition="never fire" not in str(error))
        raise


@given(expressions, zones, instants)
def test_instants_strictly_increase(expression: str, tz: str, base: datetime) -> None:
    cron = cron_or_skip(expression, tz)

    instants = [base, *islice(cron.fires(base, END), 5)]

    assert len(instants) == 6
    assert all(earlier < later for earlier, later in pairwise(instants))


@given(expressions, zones, instants, st.floats(0, 1))
def test_nothing_fires_between_an_instant_and_the_next(expression: str, tz: str, base: datetime, share: float) -> None:
    cron = cron_or_skip(expression, tz)
    following = cron.next_after(base)
    assert following is not None

    between = base + (following - base) * share

    assert cron.next_after(min(between, following - timedelta(microseconds=1))) == following


def named(text: str, low: int, high: int) -> set[int]:
    """The numbers that a field without marks names, read apart from the engine."""
    found: set[int] = set()
    for item in text.replace("?", "*").replace("*", f"{low}-{high}").split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        end = int(last) if last else (high if step else int(first))
        size = high - low + 1
        found.update(
            low + (int(first) - low + n) % size for n in range(0, (end - int(first)) % size + 1, int(step or 1))
        )
    return found


plain_fields = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6))


@given(plain_fields, zones, instants)
def test_the_wall_clock_shows_what_the_expression_names_or_has_just_skipped_it(
    fields: tuple[str, str, str, str, str], tz: str, base: datetime
) -> None:
    expression = " ".join(fields)
    assume(len(expression) <= 100)
    cron = cron_or_skip(expression, tz)
    minutes, hours, days, months, weekdays = (
        named(text, *limits) for text, limits in zip(fields, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6)), strict=True)
    )

    instant = cron.next_after(base)

    assert instant is not None
    assert (instant.tzinfo, instant.microsecond) == (UTC, 0)
    wall = instant.astimezone(ZoneInfo(tz))
    by_day, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
    both = fields[2].startswith("*") or fields[4].startswith("*")
    shown = (wall.second, wall.minute in minutes, wall.hour in hours, wall.month in months) == (
        0,
        True,
        True,
        True,
    ) and (by_day and by_weekday if both else by_day or by_weekday)
    assert shown or "does not exist" in (cron.describe_clock_change(instant) or "")


@given(st.one_of(st.text("0123456789*/,-?#LWHMONFRI@ ", max_size=40), st.text(max_size=110)), instants)
def test_any_text_is_read_or_refused_and_never_hangs(text: str, base: datetime) -> None:
    try:
        cron = Cron(text)
    except CronError:
        return

    assert cron.next_after(base) is not None
    assert Cron(cron.normalized) == cron
    assert cron.describe()
    assert cron.describe(24)


@given(expressions, zones)
def test_words_and_normal_form_exist_for_every_expression(expression: str, tz: str) -> None:
    cron = cron_or_skip(expression, tz)
    normal = Cron(cron.normalized, tz=tz)

    assert normal.normalized == cron.normalized
    assert normal.describe(24) == cron.describe(24)
    assert normal.next_after(datetime(2027, 1, 1, tzinfo=UTC)) == cron.next_after(datetime(2027, 1, 1, tzinfo=UTC))


@given(st.integers(1, 10**12), instants, instants)
def test_an_interval_fires_at_whole_steps_from_its_anchor(milliseconds: int, anchor: datetime, base: datetime) -> None:
    every = Every(milliseconds=milliseconds, anchor=anchor)

    following = every.next_after(base)

    assert following is not None
    assert base < following <= base + every.interval
    assert (following - anchor) % every.interval == timedelta(0)


@given(st.text(), st.timedeltas(timedelta(microseconds=1), timedelta(days=10_000)))
def test_jitter_is_less_than_its_window_and_depends_on_the_name_alone(name: str, window: timedelta) -> None:
    assert timedelta(0) <= jitter_for(name, window) < window
    assert jitter_for(name, window) == jitter_for(name, window)


@pytest.mark.parametrize("year", [1, 9999])
@pytest.mark.parametrize("tz", ZONES)
def test_the_ends_of_the_calendar_have_no_next_instant(year: int, tz: str) -> None:
    assert Cron("*/5 * * * *", tz=tz).next_after(datetime(year, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("tz", ZONES)
def test_the_last_year_of_the_calendar_ends_without_an_error(tz: str) -> None:
    cron = Cron("0 12 1 1 *", tz=tz)

    assert cron.next_after(datetime(9998, 6, 1, tzinfo=UTC)) is None
