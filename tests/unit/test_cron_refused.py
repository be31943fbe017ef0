"""What is refused, where the error points, and what it says to write instead."""

from __future__ import annotations

import pickle
from timeit import timeit

import pytest

from mainspring.domain.schedule import Cron, CronError
from mainspring.errors import MainspringError

POINTED_AT = [
    ("60 * * * *", "minute", 1, "60 is out of range; write 0 to 59"),
    ("* 24 * * *", "hour", 3, "24 is out of range; write 0 to 23"),
    ("0 0 0 * *", "day of month", 5, "0 is out of range; write 1 to 31"),
    ("0 0 32 * *", "day of month", 5, "32 is out of range; write 1 to 31"),
    ("0 0 * 13 *", "month", 7, "13 is out of range; write 1 to 12"),
    ("0 0 * 0 *", "month", 7, "0 is out of range; write 1 to 12"),
    ("0 0 * * 8", "day of week", 9, "8 is out of range; write 0 to 7"),
    ("60 0 0 * * *", "second", 1, "60 is out of range; write 0 to 59"),
    ("0 0 0 0 * *", "day of month", 7, "0 is out of range; write 1 to 31"),
    ("  61   *  * * *", "minute", 3, "61 is out of range; write 0 to 59"),
    ("1,,2 * * * *", "minute", 3, "a number is missing here"),
    ("1, * * * *", "minute", 3, "a number is missing here"),
    ("-5 * * * *", "minute", 1, "a number is missing here"),
    ("1- * * * *", "minute", 3, "a number is missing here"),
    ("1-2-3 * * * *", "minute", 1, "'1-2-3' is not a range; write two numbers, as in 0-59"),
    ("0,5-99 * * * *", "minute", 5, "99 is out of range; write 0 to 59"),
    ("*/0 * * * *", "minute", 3, "'0' is not a step; after '/' write a whole number from 1, as in */15"),
    ("*/ * * * *", "minute", 3, "'' is not a step; after '/' write a whole number from 1, as in */15"),
    ("*/-1 * * * *", "minute", 3, "'-1' is not a step; after '/' write a whole number from 1, as in */15"),
    ("*/1.5 * * * *", "minute", 3, "'1.5' is not a step; after '/' write a whole number from 1, as in */15"),
    ("*/2/3 * * * *", "minute", 5, "a second '/'; write one step, as in */15"),
    ("/5 * * * *", "minute", 1, "a number is missing here"),
    ("** * * * *", "minute", 1, "'**' is not known here; write 0 to 59, a list (1,2), a range (1-5) or a step (*/2)"),
    ("1.5 * * * *", "minute", 1, "'1.5' is not known here"),
    ("MON * * * *", "minute", 1, "'MON' is not known here; write 0 to 59"),
    ("0 0 * MON *", "month", 7, "'MON' is not known here; write 1 to 12 or JAN FEB MAR"),
    ("0 0 * * MONDAY", "day of week", 9, "'MONDAY' is not known here; write 0 to 7 or SUN MON TUE"),
    ("0 0 * * 1-DAY", "day of week", 11, "'DAY' is not known here"),
    ("٣ * * * *", "minute", 1, "'٣' is not known here"),  # a digit, but not one that cron knows
    ("0 0 * * fr\u0131", "day of week", 9, "'fr\u0131' is not known here"),  # a dotless i, whose capital would be I
    ("H * * * *", "minute", 1, "'H' is not supported: write a number, and spread jobs with jitter="),
    ("H/15 * * * *", "minute", 1, "'H' is not supported: write a number, and spread jobs with jitter="),
    ("0 H(0-7) * * *", "hour", 3, "'H' is not supported: write a number, and spread jobs with jitter="),
    ("0~30 * * * *", "minute", 1, "random ranges are not supported: write a number, and spread jobs with jitter="),
    ("? * * * *", "minute", 1, "'?' stands only in the day fields; write *"),
    ("0 0 * ? *", "month", 7, "'?' stands only in the day fields; write *"),
    ("0 0 * * L", "day of week", 9, "'L' needs a weekday here; write 5L for the last Friday, or 6 for every Saturday"),
    ("0 0 L-3 * *", "day of month", 5, "days counted from the end are not supported; write L for the last day"),
    ("0 0 L/2 * *", "day of month", 5, "write L, LW or a day as in 15W, each alone or in a list"),
    ("0 0 W * *", "day of month", 5, "write L, LW or a day as in 15W, each alone or in a list"),
    ("0 0 1-5W * *", "day of month", 7, "write L, LW or a day as in 15W, each alone or in a list"),
    ("0 0 32W * *", "day of month", 5, "32 is out of range; write 1 to 31"),
    ("0 0 5L * *", "day of month", 5, "write L, LW or a day as in 15W, each alone or in a list"),
    ("0 0 * * 15W", "day of week", 9, "'15W' is not known here"),
    ("0 0 * * 8L", "day of week", 9, "8 is out of range; write 0 to 7"),
    ("0 0 * * 5L/2", "day of week", 9, "write a weekday as in 5L or 5#2, each alone or in a list"),
    ("0 0 * * 5#6", "day of week", 11, "'6' is not a week of the month; after # write 1 to 5"),
    ("0 0 * * 5#0", "day of week", 11, "'0' is not a week of the month; after # write 1 to 5"),
    ("0 0 * * #2", "day of week", 9, "a number is missing here"),
    ("0 0 * * 1#2#3", "day of week", 9, "write a weekday as in 5L or 5#2, each alone or in a list"),
    ("0 0 30 2 *", "day of month", 5, "it can never fire: none of its months ever has such a day"),
    ("0 0 30,31 FEB *", "day of month", 5, "it can never fire: none of its months ever has such a day"),
    ("0 0 31 4,6,9,11 *", "day of month", 5, "it can never fire: none of its months ever has such a day"),
    ("0 0 31W 4 *", "day of month", 5, "it can never fire: none of its months ever has such a day"),
    ("0 0 30 2 */2", "day of month", 5, "it can never fire: none of its months ever has such a day"),
    ("0 0 */31 * 5#2", "day of month", 5, "it can never fire: none of its months ever has such a day"),
]

AS_A_WHOLE = [
    ("", "has 0 fields: write five (minute, hour, day of month, month, day of week), or six with the seconds first"),
    ("* * * *", "has 4 fields: write five"),
    ("0 0 12 * * ? 2027", "has 7 fields: a year field is not supported; write five"),
    ("@reboot", "it has no instants: use OnStartup()"),
    ("@every 5m", "use Every(), for instance Every(minutes=5)"),
    ("@noon", "unknown macro; use one of @yearly @annually @monthly @weekly @daily @midnight @hourly"),
    ("0 " * 60, "has 120 characters; at most 100 are allowed"),
]


@pytest.mark.parametrize(("expression", "field", "position", "problem"), POINTED_AT)
def test_an_error_names_the_field_and_the_character(expression: str, field: str, position: int, problem: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron(expression)

    assert str(caught.value).startswith(f"cron {expression!r}, {field}, character {position}: {problem}")
    assert (caught.value.field, caught.value.position) == (field, position)


@pytest.mark.parametrize(("expression", "problem"), AS_A_WHOLE)
def test_an_error_about_the_whole_expression_names_no_field(expression: str, problem: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron(expression)

    assert problem in str(caught.value)
    assert (caught.value.field, caught.value.position) == (None, None)


@pytest.mark.parametrize(
    ("tz", "hint"),
    [
        ("Europe/Rom", "did you mean 'Europe/Rome'?"),
        ("Mars/Olympus_Mons", "write an IANA name such as 'Europe/Rome' or 'UTC'"),
        ("", "write an IANA name"),
        ("../../etc/passwd", "write an IANA name"),
        ("Europe", "time zone 'Europe' is not known"),
        ("x" * 5000, "write an IANA name"),
        ("Europe/\0", "time zone"),
    ],
)
def test_an_unknown_zone_is_refused(tz: str, hint: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron("0 9 * * *", tz=tz)

    assert hint in str(caught.value)
    assert caught.value.field == "time zone"


def test_a_wildcard_that_clocks_always_skip_is_refused_and_its_fixed_form_is_not() -> None:
    with pytest.raises(CronError, match="can never fire in America/New_York: the clocks there always skip"):
        Cron("*/30 2 * 3 SUN#2", tz="America/New_York")

    assert Cron("0,30 2 * 3 SUN#2", tz="America/New_York")
    assert Cron("*/30 2 * 3 SUN#2", tz="America/Phoenix")


@pytest.mark.parametrize(
    "expression",
    [
        *("0 0 29 2 *", "0 0 29 2 1", "0 0 30 2 1", "0 0 * 2 5#5", "0 0 */31 * 1", "0 0 31W * *", "0 0 29W 2 *"),
        *("0 0 31 2,12 *", "0 0 */7 2 7L", "0 0 29 FEB */3"),
    ],
)
def test_dates_that_are_only_rare_are_accepted(expression: str) -> None:
    assert Cron(expression).expression == expression


def test_a_cron_error_is_one_of_ours_and_a_value_error() -> None:
    error = CronError("no", field="hour", position=3)

    assert isinstance(error, MainspringError)
    assert isinstance(error, ValueError)
    assert error.code == "INVALID_CRON"


def test_a_cron_error_crosses_processes_whole() -> None:
    error = pickle.loads(pickle.dumps(CronError("no", field="hour", position=3)))  # noqa: S301 - our own bytes

    assert (str(error), error.field, error.position) == ("no", "hour", 3)


@pytest.mark.parametrize(
    ("expression", "tz"),
    [("0 0 30 2 *", "UTC"), ("0 0 */31 * 5#2", "Europe/Rome"), ("*/30 2 * 3 SUN#2", "America/New_York")],
)
def test_what_can_never_fire_is_refused_within_50_milliseconds(expression: str, tz: str) -> None:
    def refuse() -> None:
        with pytest.raises(CronError, match="can never fire"):
            Cron(expression, tz=tz)

    assert min(timeit(refuse, number=1) for _ in range(5)) < 0.05
