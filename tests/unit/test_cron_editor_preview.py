"""What the cron editor says of an expression: the field at fault, what changes, what it meets, how often it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.schedule import Cron
from mainspring.web.cron_editor_preview import NEXT, preview_of

if TYPE_CHECKING:
    from mainspring.web.cron_editor_preview import CronPreview

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BEFORE = "0 9 * * MON"


def preview(expression: str, timezone: str = "UTC", **options: Any) -> CronPreview:
    given_options: dict[str, Any] = {
        "before": BEFORE, "present": Cron(BEFORE), "others": {}, "queue": "mail", "usual_duration": None, "now": NOW,
    }  # fmt: skip
    return preview_of(expression, timezone, **(given_options | options))


@pytest.mark.parametrize(
    ("expression", "marks"),
    [
        ("0 9 * * MON", ["", "", "", "", ""]),
        ("0 9 * * mon", ["", "", "", "", ""]),
        ("0 10 * * MON", ["", "changed", "", "", ""]),
        ("0 25 * * MON", ["", "wrong", "", "", ""]),
        ("0 9 32 * MON", ["", "", "wrong", "", ""]),
        ("30 0 9 * * MON", ["", "", "", "", "", ""]),
        ("@daily", []),
        ("nonsense", []),
        ("", []),
    ],
)
def test_each_field_says_whether_it_is_wrong_or_another_one(expression: str, marks: list[str]) -> None:
    assert [field.mark for field in preview(expression).fields] == marks


@pytest.mark.parametrize(
    ("expression", "timezone", "options", "sentence"),
    [
        ("0 9 * * MON-FRI", "UTC", {}, "It runs 5 × a week instead of 1 ×."),
        ("0 10 * * MON", "UTC", {}, "It runs 1 × a week, as before."),
        ("0 10 * * MON", "UTC", {"present": None}, "It runs 1 × a week."),
        ("30 2 * * *", "Europe/Rome", {}, "Clock change Sun 28 Mar 2027: 2:30 AM does not exist"),
        ("0 9 * * *", "UTC", {}, "No other schedule of queue mail fires at these times."),
        (
            "0 10 * * MON",
            "UTC",
            {"others": {"partner": Cron("0 10 * * *")}},
            "One other schedule of queue mail fires at the same time: partner, Mon 23 Nov, 10:00.",
        ),
        (
            "0 10 * * MON",
            "UTC",
            {"others": {name: Cron("0 10 * * *") for name in "abcde"}},
            "5 other schedules of queue mail fire at the same time: a, b, c …; Mon 23 Nov, 10:00.",
        ),
        (
            "*/5 * * * *",
            "UTC",
            {"usual_duration": timedelta(minutes=7)},
            "A run usually takes 7 min, and the next would be due after 5 min.",
        ),
        ("*/5 * * * *", "UTC", {"usual_duration": timedelta(seconds=9)}, "A run usually takes 9 s; the next is due"),
    ],
)
def test_what_is_worth_knowing_is_said(expression: str, timezone: str, options: dict[str, Any], sentence: str) -> None:
    said = [text for _, text in preview(expression, timezone, **options).facts]
    assert any(text.startswith(sentence) for text in said), said


def test_what_never_fires_or_knows_no_zone_says_why() -> None:
    assert "31" in (preview("0 0 31 2 *").error or "")
    assert "Europe/Rome" in (preview(BEFORE, "Europe/Rom").error or "")


@given(st.integers(0, 59), st.integers(0, 23), st.sampled_from(["UTC", "Europe/Rome", "Asia/Tokyo"]))
def test_what_can_be_read_names_its_next_runs_and_never_its_old_rate_as_another(
    minute: int, hour: int, timezone: str
) -> None:
    expression = f"{minute} {hour} * * *"
    found = preview(expression, timezone, before=expression, present=Cron(expression, timezone))
    assert (found.error, len(found.moments)) == (None, NEXT)
    assert not any(field.mark for field in found.fields)
    assert not any("instead of" in text for _, text in found.facts)
