"""The engine against cronsim and croniter, aimed at days when clocks change, with their known faults left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, product
from typing import Any, cast
from zoneinfo import ZoneInfo

import croniter as croniter_package
import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.schedule import Cron

FIRES = 6
CHANGES = [
    ("Europe/Rome", "spring", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("Europe/Rome", "autumn", datetime(2027, 10, 31, 1, tzinfo=UTC)),
    ("America/New_York", "spring", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", "autumn", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("Africa/Cairo", "spring", datetime(2027, 4, 29, 22, tzinfo=UTC)),
    ("Africa/Cairo", "autumn", datetime(2027, 10, 28, 21, tzinfo=UTC)),
    ("America/Havana", "spring", datetime(2027, 3, 14, 5, tzinfo=UTC)),
    ("America/Havana", "autumn", datetime(2027, 11, 7, 5, tzinfo=UTC)),
    ("America/Nuuk", "spring", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("America/Nuuk", "autumn", datetime(2027, 10, 31, 1, tzinfo=UTC)),
    ("Antarctica/Troll", "spring", datetime(2027, 3, 28, 1, tzinfo=UTC)),
    ("Antarctica/Troll", "autumn", datetime(2027, 10, 31, 1, tzinfo=UTC)),
    ("Pacific/Chatham", "spring", datetime(2027, 9, 25, 14, tzinfo=UTC)),
    ("Pacific/Chatham", "autumn", datetime(2027, 4, 3, 14, tzinfo=UTC)),
    ("Australia/Lord_Howe", "spring", datetime(2027, 10, 2, 15, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", "autumn", datetime(2027, 4, 3, 15, tzinfo=UTC)),
    ("Asia/Kathmandu", "none", datetime(2027, 4, 3, 15, tzinfo=UTC)),
    ("UTC", "none", datetime(2027, 12, 31, 15, tzinfo=UTC)),
]
WILDCARDS = [
    *("* * * * *", "*/15 * * * *", "*/7 * * * *", "0 * * * *", "30 * * * *", "0 */2 * * *", "0 */3 * * *"),
    *("*/20 2 * * *", "*/20 1 * * *", "*/30 1-3 * * *", "45 * * * 6,7"),
]
FIXED = [
    *("30 2 * * *", "0 3 * * *", "0 2,3 * * *", "30 1 * * *", "15,45 1 * * *", "15,45 2 * * *", "0-59/10 2 * * *"),
    *("0 0 * * *", "30 0 * * *", "59 23 * * *", "30 23 * * *", "0 0-23 * * *", "30 1-4 * * *", "30 2 * * SUN"),
    *("30 2 */2 * SUN", "30 2 28 * 1", "0 0 * * MON", "30 2 L * *", "30 2 * * 7#1"),
]
OFF_THE_HOUR = ("Australia/Lord_Howe", "Pacific/Chatham")
BASES = [timedelta(minutes=minutes) for minutes in (-1500, -61, -1, 0, 29, 60, 400)]


def of_mainspring(expression: str, tz: str, base: datetime) -> list[datetime]:
    cron = Cron(expression, tz=tz)
    return list(islice(cron.fires(base, datetime(2300, 1, 1, tzinfo=UTC)), FIRES))


def of_cronsim(expression: str, tz: str, base: datetime) -> list[datetime]:
    return [instant.astimezone(UTC) for instant in islice(CronSim(expression, base.astimezone(ZoneInfo(tz))), FIRES)]


def of_croniter(expression: str, tz: str, base: datetime) -> list[datetime]:
    croniter = cast("Any", croniter_package).croniter  # it has no types
    # Without `implement_cron_bug` it does not join the day fields as cron does when one is `*/2`.
    instants = croniter(expression, base.astimezone(ZoneInfo(tz)), implement_cron_bug=True)
    return [instants.get_next(datetime).astimezone(UTC) for _ in range(FIRES)]


def is_known_fault_of_cronsim(expression: str, tz: str, base: datetime) -> bool:
    """Where cronsim 2.8 is wrong.

    - Clocks changed off the hour, wildcards: its steps of an hour pass over wall times (02:30 at Lord Howe is lost).
    - From the second pass of an overlap, fixed times: it answers with an instant of the first pass, in the past.
    """
    if expression in WILDCARDS:
        return tz in OFF_THE_HOUR
    return base.astimezone(ZoneInfo(tz)).fold == 1


def is_known_fault_of_croniter(expression: str, season: str) -> bool:
    """Where croniter 7.0 is wrong, besides zones whose clocks change off the hour, which are left out of its test.

    - Gaps, wildcards: it catches up what a gap has skipped.
    - Overlaps, fixed times: it runs twice.
    """
    return season == ("spring" if expression in WILDCARDS else "autumn")


@pytest.mark.parametrize(("tz", "change"), [(tz, change) for tz, _, change in CHANGES])
def test_cronsim_agrees_where_clocks_change(tz: str, change: datetime) -> None:
    cases = [
        (expression, change + offset)
        for expression, offset in product(WILDCARDS + FIXED, BASES)
        if not is_known_fault_of_cronsim(expression, tz, change + offset)
    ]
    ours = {case: of_mainspring(case[0], tz, case[1]) for case in cases}

    assert len(cases) > len(FIXED)
    assert {case: of_cronsim(case[0], tz, case[1]) for case in cases} == ours


@pytest.mark.parametrize(("tz", "season", "change"), [change for change in CHANGES if change[0] not in OFF_THE_HOUR])
def test_croniter_agrees_where_clocks_change(tz: str, season: str, change: datetime) -> None:
    cases = [
        (expression, change + offset)
        for expression, offset in product(WILDCARDS + FIXED, BASES[::2])
        if not is_known_fault_of_croniter(expression, season)
    ]
    ours = {case: of_mainspring(case[0], tz, case[1]) for case in cases}

    assert len(cases) > len(WILDCARDS)
    assert {case: of_croniter(case[0], tz, case[1]) for case in cases} == ours


# Syntax, without clock changes ---------------------------------------------------------------------------------------

BOTH_READ = [
    *("5/20 * * * *", "7-59/9 * * * *", "*/40 * * * *", "0 0 */2 * 1", "0 0 1 * */2", "0 0 13 * 5", "0 0 *,5 * 1"),
    *(
        "0 0 29 2 *",
        "0 0 31 * *",
        "0 0 L * *",
        "0 0 L,15 * *",
        "0 0 * * FRI#2",
        "0 0 * * 5#5",
        "0 0 * * 5-7",
    ),
    *("0 0 * * MON-FRI/2", "0 0 * JAN-MAR/2 *", "0 0 * dec sun", "0 0 29 2 1", "0 0 */31 * *", "0 0 * * */7"),
    *("0 0 1-31 * 1", "0 12 1-5/10 * *", "1,2,3 4,5 6-8 * 0", "0 0 * * 0-7", "05 09 * * *"),
]
ONLY_CRONSIM_READS = [
    "*/20 * * * * *",
    "30 59 23 31 12 *",
    "0 0 LW * *",
    "0 0 * * 5L,1#2",
    "0 0 * * 7L",
    "0 0 * * 7#1",
    "0 0 13 * 5#5",
]
ONLY_CRONITER_READS = [
    *("0 22-2 * * *", "0 22-4/2 * * *", "50-10/5 * * * *", "0 0 * * FRI-SUN", "0 0 * * 6-2", "0 0 30-2 * *"),
    *("0 0 * NOV-FEB *", "0 0 15W * *", "0 0 1W * *", "0 0 ? * 1", "0 0 5 * ?", "0 0 * * 1/2", "0 0 * * 7/2"),
    *("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"),
]
UTC_BASES = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC)]


@pytest.mark.parametrize("base", UTC_BASES)
@pytest.mark.parametrize("expression", [*BOTH_READ, *ONLY_CRONSIM_READS])
def test_cronsim_reads_the_same(expression: str, base: datetime) -> None:
    assert of_mainspring(expression, "UTC", base) == of_cronsim(expression, "UTC", base)


@pytest.mark.parametrize("base", UTC_BASES)
@pytest.mark.parametrize("expression", [*BOTH_READ, *ONLY_CRONITER_READS])
def test_croniter_reads_the_same(expression: str, base: datetime) -> None:
    assert of_mainspring(expression, "UTC", base) == of_croniter(expression, "UTC", base)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """Fields that cronsim reads as cron does: no ranges that wrap, and no `5-5/2`, which it takes for `5/2`."""
    ends = st.sets(st.integers(low, high), min_size=2, max_size=2).map(sorted)
    span = st.one_of(st.just("*"), ends.map(lambda pair: f"{pair[0]}-{pair[1]}"))
    stepped = st.tuples(span, st.integers(1, high + 2)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    item = st.one_of(span, stepped, st.integers(low, high).map(str))
    return st.lists(item, min_size=1, max_size=3).map(",".join)


five_fields = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)).map(" ".join)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - in UTC


@given(five_fields.filter(lambda text: len(text) <= 100), instants)
def test_cronsim_agrees_on_any_expression(expression: str, base: datetime) -> None:
    assert of_mainspring(expression, "UTC", base)[:3] == of_cronsim(expression, "UTC", base)[:3]
