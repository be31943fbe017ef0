from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]

ROME = ("--tz", "Europe/Rome")


@pytest.fixture
def cron(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring cron`: returns the exit code, and what it wrote to each stream."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", "cron", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def lines_of(result: tuple[int, str, str]) -> list[str]:
    """The lines of an answer, each run of two spaces or more as one bar."""
    code, out, _ = result
    assert code == 0
    return [re.sub(r"\s{2,}", " | ", line.strip()) for line in out.splitlines() if line.strip()]


def record_of(result: tuple[int, str, str]) -> dict[str, Any]:
    assert result[0] == 0
    return json.loads(result[1])


# next ----------------------------------------------------------------------------------------------------------------


def test_a_night_that_loses_its_hour_reads_right(cron: Command) -> None:
    lines = lines_of(cron("next", "30 2 * * *", *ROME, "--from", "2027-03-27", "--count", "3"))

    assert lines[0] == "Every day at 2:30 AM (Europe/Rome)"
    assert lines[1] == "local time | UTC | after"
    assert lines[3:] == [
        "Sat 2027-03-27 | 2:30 AM CET +01:00 | 2027-03-27 01:30 | 2 h 30 min",
        (
            "Sun 2027-03-28 | 3:00 AM CEST +02:00 | 2027-03-28 01:00 | 1 d 2 h"
            " | 2:30 AM does not exist on 2027-03-28: clocks go forward, and it runs right after"
        ),
        "Mon 2027-03-29 | 2:30 AM CEST +02:00 | 2027-03-29 00:30 | 2 d 1 h",
    ]


def test_a_night_with_an_hour_twice_reads_right(cron: Command) -> None:
    lines = lines_of(cron("next", "30 2 * * *", *ROME, "--from", "2027-10-30", "--count", "3", "--clock", "24"))

    assert lines[0] == "Every day at 02:30 (Europe/Rome)"
    assert lines[3:] == [
        "Sat 2027-10-30 02:30 CEST +02:00 | 2027-10-30 00:30 | 2 h 30 min",
        "Sun 2027-10-31 02:30 CEST +02:00 | 2027-10-31 00:30 | 1 d 2 h | the first of two 02:30: clocks go back",
        "Mon 2027-11-01 02:30 CET +01:00 | 2027-11-01 01:30 | 2 d 3 h",
    ]


def test_times_that_are_skipped_and_not_made_up_for_have_a_line_of_their_own(cron: Command) -> None:
    lines = lines_of(cron("next", "*/30 2 * * *", *ROME, "--from", "2027-03-27T02:30", "--count", "2"))

    assert lines[3:] == [
        "Sun 2027-03-28 | – | – | 2:00 AM and 2:30 AM do not exist, and nothing makes up for them",
        "Mon 2027-03-29 | 2:00 AM CEST +02:00 | 2027-03-29 00:00 | 1 d 22 h",
        "Mon 2027-03-29 | 2:30 AM CEST +02:00 | 2027-03-29 00:30 | 1 d 23 h",
    ]


def test_a_day_that_never_was_has_a_line_of_its_own(cron: Command) -> None:
    lines = lines_of(cron("next", "0 12 * * *", "--tz", "Pacific/Apia", "--from", "2011-12-29", "--count", "2"))

    assert lines[3:] == [
        "Thu 2011-12-29 12:00 PM -10:00 | 2011-12-29 22:00 | 12 h",
        "Fri 2011-12-30 | – | – | 2011-12-30 never was: it does not fire for it",
        "Sat 2011-12-31 12:00 PM +14:00 | 2011-12-30 22:00 | 1 d 12 h",
    ]


def test_the_next_instants_for_programs_are_json(cron: Command) -> None:
    assert record_of(cron("next", "*/30 2 * * *", *ROME, "--from", "2027-03-28T00:00Z", "--count", "1", "--json")) == {
        "expression": "*/30 2 * * *",
        "normalized": "*/30 2 * * *",
        "timezone": "Europe/Rome",
        "words": "Every day at 2:00 AM and 2:30 AM",
        "from": "2027-03-28T00:00:00.000Z",
        "next": [
            {
                "instant": "2027-03-29T00:00:00.000Z",
                "local": "2027-03-29T02:00:00+02:00",
                "abbreviation": "CEST",
                "note": None,
            }
        ],
        "leftOut": [
            {
                "day": "2027-03-28",
                "instant": "2027-03-28T01:00:00.000Z",
                "note": "2:00 AM and 2:30 AM do not exist, and nothing makes up for them",
            }
        ],
    }


def test_without_a_start_it_looks_from_now_on(cron: Command) -> None:
    lines = lines_of(cron("next", "*/5 * * * *", "--count", "7"))

    assert lines[1] == "local time | UTC | in"
    assert len(lines) == 3 + 7


def test_a_start_that_names_no_zone_is_by_the_clock_of_the_schedule(cron: Command) -> None:
    local = record_of(cron("next", "0 9 * * *", "--tz", "Asia/Tokyo", "--from", "2027-01-01T09:00", "--json"))
    universal = record_of(cron("next", "0 9 * * *", "--tz", "Asia/Tokyo", "--from", "2027-01-01T09:00Z", "--json"))

    assert local["from"] == "2027-01-01T00:00:00.000Z"
    assert universal["from"] == "2027-01-01T09:00:00.000Z"


def test_seconds_are_shown_where_there_are_any(cron: Command) -> None:
    lines = lines_of(cron("next", "30 0 12 * * *", "--from", "2027-01-01", "--count", "1"))

    assert lines[3] == "Fri 2027-01-01 12:00:30 PM UTC +00:00 | 2027-01-01 12:00:30 | 12 h"


def test_start_up_has_no_instants_and_says_so(cron: Command) -> None:
    assert lines_of(cron("next", "@reboot"))[0].startswith("When the application starts: no instant is known")
    assert record_of(cron("explain", "@reboot", "--json"))["next"] == []


# explain -------------------------------------------------------------------------------------------------------------


def test_an_expression_is_explained_field_by_field(cron: Command) -> None:
    lines = lines_of(cron("explain", "*/15 9-17 L,15W JAN,JUN-AUG fri#2", "--from", "2027-01-01"))

    assert lines[3:8] == [
        "minute | */15 | every 15 minutes: 0, 15, 30 and 45",
        "hour | 9-17 | every hour from 9 AM to 5 PM",
        "day of month | L,15W | the last day and the weekday nearest the 15th",
        "month | JAN,JUN-AUG | January, June, July and August",
        "day of week | fri#2 | the second Friday of the month",
    ]


@pytest.mark.parametrize(
    ("expression", "meanings"),
    [
        ("*/20 3-59/9 * * * MON-FRI", ["every 20 seconds: 0, 20 and 40", "every 9 minutes from 3 to 57", "every hour"]),
        ("0 1,2,3,9 0,21 * * *", ["second 0", "minutes 1 to 3 and 9", "12 AM and 9 PM"]),
        ("0,30 * 3-8 2-4,12 *", ["every 30 minutes: 0 and 30", "every hour", "each day from the 3rd to the 8th"]),
        ("* * * * 1,3,5", ["every minute", "every hour", "any day", "any month", "Monday, Wednesday and Friday"]),
        ("0 0 1 6-8 5-1", ["minute 0", "12 AM", "the first day", "June to August", "Friday to Monday"]),
    ],
)
def test_each_field_has_a_meaning(cron: Command, expression: str, meanings: list[str]) -> None:
    fields = record_of(cron("explain", expression, "--json"))["fields"]

    assert [field["text"] for field in fields] == expression.split()
    assert [field["meaning"] for field in fields][: len(meanings)] == meanings


def test_the_fields_of_a_macro_are_those_that_it_stands_for(cron: Command) -> None:
    fields = record_of(cron("explain", "@weekly", "--json"))["fields"]

    assert [field["text"] for field in fields] == ["0", "0", "*", "*", "0"]


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ("0 0 13 * FRI", "A day that matches either day field is enough: neither of them starts with *."),
        ("0 0 */2 * FRI", "A day must match both day fields: one of them starts with *."),
        ("0 0 * * FRI", "The day of the week alone decides: the other day field is *."),
        ("0 0 13 * *", "The day of the month alone decides: the other day field is *."),
        ("0 0 * * *", "Every day counts: both day fields are *."),
    ],
)
def test_the_rule_of_the_day_fields_is_told(cron: Command, expression: str, rule: str) -> None:
    assert f"• {rule}" in lines_of(cron("explain", expression))


@pytest.mark.parametrize(
    ("expression", "rule", "spring", "autumn"),
    [
        (
            "30 2 * * *",
            "• It runs once for each local time when clocks change",
            "2:30 AM does not exist: it fires at 3:00 AM instead",
            "2:30 AM comes twice: it fires the first time",
        ),
        (
            "0,20,40 2 * * *",
            "• It runs once",
            "2:00 AM, 2:20 AM and 2:40 AM do not exist: it fires at 3:00 AM instead, once",
            "2:00 AM, 2:20 AM and 2:40 AM come twice: it fires the first time",
        ),
        (
            "* 2 * * *",
            "• It follows real time when clocks change",
            "60 times from 2:00 AM to 2:59 AM do not exist, and nothing makes up for them",
            "60 times from 2:00 AM to 2:59 AM come twice: it fires each time",
        ),
        (
            "0 9 * * *",
            "• It runs once",
            "nothing: it names no time between 2:00 AM and 3:00 AM of that day",
            "nothing: it names no time between 2:00 AM and 3:00 AM of that day",
        ),
    ],
)
def test_what_the_clocks_of_the_coming_year_do_is_told(
    cron: Command, expression: str, rule: str, spring: str, autumn: str
) -> None:
    lines = lines_of(cron("explain", expression, *ROME, "--from", "2027-01-01"))

    assert any(line.startswith(rule) for line in lines)
    assert f"Sun 2027-03-28 | 3:00 AM CEST +02:00 | {spring}" in lines
    assert f"Sun 2027-10-31 | 2:00 AM CET +01:00 | {autumn}" in lines


def test_a_zone_without_clock_changes_says_so(cron: Command) -> None:
    lines = lines_of(cron("explain", "0 9 29 2 *", "--from", "2027-01-01"))

    assert "UTC changes no clocks in the coming year" in lines
    assert lines[-1] == "it fires next | Tue 2028-02-29 | 9:00 AM UTC +00:00, in 424 d 9 h"


def test_an_explanation_for_programs_is_json(cron: Command) -> None:
    record = record_of(cron("explain", "30 2 13 * FRI", *ROME, "--from", "2027-01-01", "--json", "--clock", "24"))

    assert record["words"] == "At 02:30 on the 13th of the month and on every Friday"
    assert (record["followsRealTime"], record["matchesBothDayFields"]) == (False, False)
    assert record["next"] == "2027-01-01T01:30:00.000Z"
    assert record["clockChanges"][0]["instant"] == "2027-03-28T01:00:00.000Z"


# What cannot be read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["next", "explain"])
def test_an_error_names_its_field_and_points_at_its_place(cron: Command, command: str) -> None:
    code, out, err = cron(command, "0 12-25 * * *")

    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "mainspring: cron '0 12-25 * * *', hour, character 6: 25 is out of range; write 0 to 23",
        "",
        "  0 12-25 * * *",
        "       ^",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("0 0 30 2 *",), "it can never fire: none of its months ever has such a day"),
        (("*/30 2 * 3 SUN#2", "--tz", "America/New_York"), "can never fire in America/New_York"),
        (("@every 5m",), "use Every(), for instance Every(minutes=5)"),
        (("0 9 * * *", "--tz", "Europe/Rom"), "did you mean 'Europe/Rome'?"),
        (("0 9 * * *", "--from", "soon"), "is not a time"),
        (("0 9 * * *", "--from", "9999-12-31"), "is out of range"),
        (("0 9 * * *", "--count", "0"), "--count"),
    ],
)
def test_what_cannot_be_read_or_never_fires_is_exit_2(cron: Command, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = cron("next", *arguments)

    assert (code, out) == (2, "")
    assert words in err


def test_an_error_for_programs_is_json(cron: Command) -> None:
    code, out, err = cron("explain", "0 12-25 * * *", "--json")

    error = json.loads(out)["error"]
    assert (code, err) == (2, "")
    assert (error["code"], error["field"], error["position"]) == ("INVALID_CRON", "hour", 6)
