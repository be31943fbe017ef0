"""Which of two builds is newer: Semantic Versioning 2.0.0 §11, numbers of builds, instants; never a guess."""

from __future__ import annotations

from itertools import combinations

import pytest

from mainspring.domain.code_version import UnorderedVersionError, is_older, require_ordered

OF_THE_SPECIFICATION = (
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
    "1.0.0",
)  # fmt: skip
"""The example of Semantic Versioning 2.0.0, §11.4, in ascending order."""
ASCENDING = (
    OF_THE_SPECIFICATION,
    ("1.9.0", "1.10.0", "2.0.0", "10.0.0"),
    ("9", "10", "412"),
    ("v1.4", "1.4.1", "v2"),
    ("2026-11-21", "2026-11-22T09:00:00Z", "2026-11-22T11:30:00+01:00", "2026-11-22T10:31:00Z"),
)


@pytest.mark.parametrize("versions", ASCENDING)
def test_versions_are_in_their_order(versions: tuple[str, ...]) -> None:
    for first, second in combinations(versions, 2):
        assert is_older(first, second), (first, second)
        assert not is_older(second, first), (second, first)


@pytest.mark.parametrize(
    ("one", "same"), [("1.4", "1.4.0"), ("1.4.2+build.7", "1.4.2+build.9"), ("v3", "3"), ("0", "0.0")]
)
def test_equal_versions_are_not_older_than_each_other(one: str, same: str) -> None:
    assert not is_older(one, same)
    assert not is_older(same, one)


def test_code_without_a_version_is_older_than_any_and_newer_than_none() -> None:
    assert is_older(None, "0")
    assert not is_older("0", None)
    assert not is_older(None, None)


def test_a_change_from_numbers_to_instants_or_back_is_believed() -> None:
    assert not is_older("1.0.0", "2026-11-22")
    assert not is_older("2026-11-22", "412")


@pytest.mark.parametrize(
    "text", ["deadbeef", "9d1f2ab", "1.2.x", "1..2", "", "latest", "1.0 beta", "9" * 200, "2026-13-01T"]
)
def test_what_has_no_order_is_refused_with_what_to_send(text: str) -> None:
    with pytest.raises(UnorderedVersionError, match=r"1\.4\.2"):
        require_ordered(text)
    with pytest.raises(UnorderedVersionError, match=r"1\.4\.2"):
        is_older(text, None)
