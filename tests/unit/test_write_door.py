"""Whatever users and jobs bring comes out as text that both databases take, within its size."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mainspring.domain.write_door import MAX_VALUE_BYTES, clean_text, json_text, payload_text, result_text, to_jsonable
from mainspring.errors import PayloadTooLargeError


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Model(BaseModel):
    at: datetime


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@given(st.text(alphabet=st.characters(codec=None, categories=None)))
def test_any_text_becomes_storable(text: str) -> None:
    cleaned = clean_text(text, 1_000)
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda leaf: st.lists(leaf) | st.dictionaries(st.text(), leaf)))  # fmt: skip  # noqa: E501
def test_any_value_becomes_json_without_nul(value: Any) -> None:
    text = json_text(value)
    json.loads(text)
    assert "\\u0000" not in text
    text.encode()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("nul \x00", "nul \N{REPLACEMENT CHARACTER}"),
        ({"\ud800": 1}, {"?": 1}),
        (2**64, str(2**64)),
        ({1: {2}}, {"1": [2]}),
        (Hostile(), {"unserialisable": "Hostile", "repr": "<repr raised RuntimeError>"}),
    ],
)
def test_what_json_cannot_say_is_said_otherwise(value: object, stored: object) -> None:
    assert json.loads(json_text(value)) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (math.nan, None),
        (Colour.RED, "red"),
        (Point(1), {"x": 1}),
        (Decimal("1.50"), "1.50"),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Model(at=datetime(2026, 1, 1, tzinfo=UTC)), {"at": "2026-01-01T00:00:00Z"}),
        ([timedelta(seconds=1.5)], [1.5]),
    ],
)
def test_usual_values_of_python_have_one_form_in_json(value: object, stored: object) -> None:
    assert json.loads(json_text(value)) == stored
    assert to_jsonable(value) == stored


def test_a_value_that_holds_itself_ends_somewhere() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "levels deep" in json_text(loop)


def test_a_result_within_its_size_is_kept_and_a_larger_one_replaced_by_a_note() -> None:
    fits = "x" * (MAX_VALUE_BYTES - 2)
    assert result_text(fits) == f'"{fits}"'
    note = json.loads(result_text(fits + "y") or "")
    assert note["truncated"] is True
    assert note["bytes"] == MAX_VALUE_BYTES + 1
    assert result_text(None) is None


def test_a_payload_over_its_size_is_refused_by_the_name_of_its_job() -> None:
    assert len(payload_text("x" * (MAX_VALUE_BYTES - 2), "digest")) == MAX_VALUE_BYTES
    with pytest.raises(PayloadTooLargeError, match=r"'digest' has 256,001 bytes"):
        payload_text("x" * (MAX_VALUE_BYTES - 1), "digest")
