"""The filter language of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.run_filter import MAX_CHARACTERS, RunFilter, Term, read_filter
from mainspring.domain.run_filter_keys import CHOICES, KEYS, Kind
from mainspring.domain.run_filter_values import seconds_of, time_of

_TEXT = st.text(min_size=1, max_size=8).filter(lambda text: "\x00" not in text)
_WORD_KEYS = [key for key, kind in KEYS.items() if kind in {Kind.WORD, Kind.TEXT}]
_BY_KIND = st.one_of(
    st.builds(
        Term,
        st.sampled_from([*_WORD_KEYS, "payload.a.b"]),
        st.lists(_TEXT, min_size=1, max_size=3, unique=True).map(tuple),
    ),
    st.builds(Term, st.just(""), st.lists(_TEXT, min_size=1, max_size=2, unique=True).map(tuple)),
    st.builds(
        Term, st.just("status"), st.lists(st.sampled_from(CHOICES["status"]), min_size=1, unique=True).map(tuple)
    ),
    st.builds(Term, st.just("started"), st.sampled_from([("2h",), ("2026-11-22",)]), st.sampled_from(["<", ">", ">="])),
    st.builds(Term, st.just("duration"), st.just(("1m30s",)), st.sampled_from(["<", ">"])),
    st.builds(Term, st.just("attempt"), st.just(("2",)), st.sampled_from(["", ">"]), st.booleans()),
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("status:failed,retrying", [Term("status", ("failed", "retrying"))]),
        ("-job:heartbeat", [Term("job", ("heartbeat",), is_excluded=True)]),
        ("started:>2h", [Term("started", ("2h",), ">")]),
        ('error:"timed out"', [Term("error", ("timed out",))]),
        ("payload.reportType:quotes", [Term("payload.reportType", ("quotes",))]),
        ("digest attempt:>1", [Term("", ("digest",)), Term("attempt", ("1",), ">")]),
        ("STATUS:failed", [Term("status", ("failed",))]),
        (r'tag:"say \"hi\""', [Term("tag", ('say "hi"',))]),
        ("by:a.meyer by:a.meyer", [Term("by", ("a.meyer",))]),
        ("018f3c5e-0000-7000-8000-000000000001", [Term("id", ("018f3c5e-0000-7000-8000-000000000001",))]),
    ],
)
def test_a_text_says_which_runs_are_meant(text: str, terms: list[Term]) -> None:
    found = read_filter(text)
    assert (list(found.terms), found.faults) == (terms, ())


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("status:failed statsu:x", 14, "did you mean status?"),
        ("status:faild", 0, "did you mean failed?"),
        ("started:2h", 0, "started:<2h"),
        ("started:>soon", 0, "neither an age"),
        ("duration:30s", 0, "duration:>30s"),
        ("attempt:>one", 0, "whole number"),
        ("job:>a", 0, "cannot be compared"),
        ('error:"open', 6, "not closed"),
        ("job:", 0, "a value is missing"),
        ('job:"a"b', 7, "a space or a comma"),
        ("id:12", 0, "no whole id"),
        ("x" * (MAX_CHARACTERS + 1), MAX_CHARACTERS, "1,000 characters"),
        (" ".join(f"w{number}" for number in range(31)), 110, "30 terms"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place_and_a_way_out(text: str, position: int, words: str) -> None:
    fault = read_filter(text).faults[0]
    assert fault.position == position
    assert words in fault.words


@given(st.text(max_size=200))
def test_no_text_is_too_much_for_it(text: str) -> None:
    found = read_filter(text)
    assert found.faults or read_filter(found.text) == found


@given(st.lists(_BY_KIND, max_size=5, unique=True))
def test_what_is_written_is_read_as_the_same(terms: list[Term]) -> None:
    found = read_filter(RunFilter(tuple(terms)).text)
    assert (found.faults, found.terms) == ((), tuple(terms))


def test_a_chip_gives_the_filter_without_it_and_a_tab_changes_one_key() -> None:
    found = read_filter("status:failed job:a -status:skipped")
    assert found.without(found.terms[1]).text == "status:failed -status:skipped"
    assert found.asking("status", "running").text == "job:a -status:skipped status:running"
    assert found.asking("status").text == "job:a -status:skipped"


def test_spans_have_units_and_times_without_a_zone_are_the_visitors() -> None:
    assert (seconds_of("1h30m"), seconds_of("250ms"), seconds_of("9" * 9 + "w")) == (5400.0, 0.25, None)
    assert time_of("2026-07-01T09:00", ZoneInfo("Europe/Rome")) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert time_of("2026-07-01T09:00Z", ZoneInfo("Europe/Rome")) == datetime(2026, 7, 1, 9, tzinfo=UTC)
