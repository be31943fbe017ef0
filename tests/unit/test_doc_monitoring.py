"""The page about monitoring names every rule, state and limit, and its code runs."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Thresholds
from mainspring.domain.alert import AlertRule
from mainspring.domain.health import HealthState

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_every_rule_state_and_limit_is_on_the_page(page: str) -> None:
    wanted = {*AlertRule, *HealthState, *(field.name for field in fields(Thresholds))}
    assert {name for name in wanted if f"`{name}`" not in page and f"{name}=" not in page} == set()


def test_the_code_of_the_page_runs(page: str) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)  # noqa: S102 - our own page
    assert "import" in names["app"].registry.names()
