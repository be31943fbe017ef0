"""The page of settings: each setting is on it, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mainspring.settings import PREFIX, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
DEFAULTS = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", PAGE, re.MULTILINE))
NAMES = [name for name in Settings.model_fields if not name.startswith("test_")]


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_is_explained(name: str) -> None:
    assert f"{PREFIX}{name.upper()}" in DEFAULTS


def test_the_page_names_no_setting_that_there_is_not() -> None:
    assert {name.removeprefix(PREFIX).lower() for name in DEFAULTS} <= set(NAMES)


@pytest.mark.parametrize("name", ["lease", "heartbeat", "poll", "org_concurrency", "retention_days", "environment"])
def test_the_defaults_are_those_of_the_program(name: str) -> None:
    [told] = re.findall(r"`([^`]+)`", DEFAULTS[f"{PREFIX}{name.upper()}"])[:1]
    assert getattr(Settings(**{name: told}), name) == getattr(Settings(), name)
