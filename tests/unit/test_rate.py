"""Rates: what can be written, and that no period ever sees more than the count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import cycle, islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainspring.domain.job import JobDefinition
from mainspring.domain.rate import Rate
from mainspring.domain.schedule import Every
from mainspring.errors import DefinitionError

START = datetime(2027, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# ---- Text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count", "period", "shortest"),
    [
        ("100/m", 100, timedelta(minutes=1), "100/m"),
        ("5/10s", 5, timedelta(seconds=10), "5/10s"),
        ("1/s", 1, timedelta(seconds=1), "1/s"),
        ("30/h", 30, timedelta(hours=1), "30/h"),
        ("1000/d", 1000, timedelta(days=1), "1000/d"),
        (" 100 / minute ", 100, timedelta(minutes=1), "100/m"),
        ("2/15min", 2, timedelta(minutes=15), "2/15m"),
        ("10/SECOND", 10, timedelta(seconds=1), "10/s"),
        ("7/24hours", 7, timedelta(days=1), "7/d"),
        ("7/90s", 7, timedelta(seconds=90), "7/90s"),
        ("1000000/366d", 1_000_000, timedelta(days=366), "1000000/366d"),
    ],
)
def test_a_rate_is_read_and_written(text: str, count: int, period: timedelta, shortest: str) -> None:
    rate = Rate.parse(text)
    assert rate == Rate(count, period)
    assert str(rate) == shortest
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "100", "100/", "/m", "100 per minute", "1.5/s", "-1/m", "100/w", "100/m/m", "ten/m", "10/-5s"]
)
def test_what_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(DefinitionError, match=r"cannot be read: .*'100/m' or '5/10s'"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0/m", "the count is 0"),
        ("1000001/m", "the count is 1000001"),
        ("1/0s", "the period is 0:00:00"),
        ("1/367d", "the period is 367 days"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(text: str, problem: str) -> None:
    with pytest.raises(DefinitionError, match=f"{problem}.*it must be 1"):
        Rate.parse(text)


def test_a_job_refuses_a_bad_rate_at_its_declaration() -> None:
    with pytest.raises(DefinitionError, match="job 'mail': rate limit 'often' cannot be read"):
        JobDefinition("mail", rate_limit="often")


# ---- What a rate makes of the limit of running ones -----------------------------------------------------------------


def test_a_rate_alone_leaves_the_number_of_running_ones_unlimited() -> None:
    assert JobDefinition("mail", rate_limit="10/m").running_limit is None
    assert JobDefinition("mail", rate_limit="10/m", concurrency_key="host").running_limit is None


def test_a_rate_takes_no_other_limit_away() -> None:
    assert JobDefinition("mail", rate_limit="10/m", max_running=3, concurrency_key="host").running_limit == 3
    assert JobDefinition("mail", rate_limit="10/m", schedule=Every(minutes=1)).running_limit == 1
    assert JobDefinition("mail", concurrency_key="host").running_limit == 1


# ---- Arithmetic -----------------------------------------------------------------------------------------------------

periods = st.integers(1, 100_000).map(lambda seconds: timedelta(seconds=seconds))
rates = st.builds(Rate, st.integers(1, 300), periods)
looks = st.lists(st.tuples(st.none() | st.floats(0, 3), st.none() | st.integers(0, 40)), min_size=1, max_size=6)
"""What is done over and over: a wait (in intervals; None: until it opens), and how many want to (None: any number)."""


def test_a_tenth_is_admitted_at_once_and_the_rest_at_an_even_pace() -> None:
    rate = Rate.parse("100/m")
    arrival = rate.arrival_at(START, None, unstarted=0)
    assert rate.room(START, arrival) == 10
    arrival += 10 * rate.interval
    assert rate.room(START, arrival) == 0
    opens = rate.opens_at(arrival)
    assert opens == START + rate.interval
    assert rate.room(opens - MICROSECOND, rate.arrival_at(opens - MICROSECOND, arrival, unstarted=0)) == 0
    assert rate.room(opens, rate.arrival_at(opens, arrival, unstarted=0)) == 1


def admissions(rate: Rate, repeated: list[tuple[float | None, int | None]]) -> list[datetime]:
    """Return when executions are admitted by looks of this kind, for two periods or a thousand looks."""
    now, kept = START, None
    found: list[datetime] = []
    for pause, wanted in islice(cycle(repeated), 1000):
        if pause is not None:
            now += pause * rate.interval
        elif kept is not None:
            now = max(now, rate.opens_at(kept))
        arrival = rate.arrival_at(now, kept, unstarted=0)
        room = rate.room(now, arrival)
        admitted = room if wanted is None else min(wanted, room)
        kept = arrival + admitted * rate.interval
        found += [now] * admitted
        if now > START + 2 * rate.period:
            break
    return found


@given(rates, looks)
@example(Rate.parse("300/m"), [(None, None)])
@example(Rate.parse("100/m"), [(0.0, 1)])
def test_no_period_sees_more_than_the_count(rate: Rate, repeated: list[tuple[float | None, int | None]]) -> None:
    instants = admissions(rate, repeated)

    for first, one_too_many in zip(instants, instants[rate.count :], strict=False):
        assert one_too_many - first >= rate.period


@given(rates)
def test_a_backlog_is_worked_off_at_nine_tenths_of_the_rate_or_more(rate: Rate) -> None:
    now, arrival, admitted = START, rate.arrival_at(START, None, unstarted=0), 0
    while now < START + rate.period:
        room = rate.room(now, arrival)
        admitted += room
        arrival += room * rate.interval
        now = rate.opens_at(arrival)
        arrival = rate.arrival_at(now, arrival, unstarted=0)

    assert rate.count - 1 <= admitted <= rate.count  # with the burst, all but what the rounding of the interval takes
    assert rate.period / rate.interval >= 0.9 * rate.count - 1


def test_what_has_not_started_yet_counts_as_admitted_now() -> None:
    rate = Rate.parse("100/m")
    later = START + timedelta(hours=1)
    assert rate.room(later, rate.arrival_at(later, START, unstarted=0)) == 10
    assert rate.room(later, rate.arrival_at(later, START, unstarted=7)) == 3
    assert rate.room(later, rate.arrival_at(later, START, unstarted=5000)) == 0


def test_an_arrival_time_that_this_rate_cannot_have_made_is_not_waited_for() -> None:
    rate = Rate.parse("60/m")
    arrival = rate.arrival_at(START, START + timedelta(days=1), unstarted=0)
    assert rate.opens_at(arrival) == START + rate.interval
