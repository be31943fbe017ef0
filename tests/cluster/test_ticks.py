"""Every due instant fires exactly once, however many nodes fire it, are killed or have wrong clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.ticks_under_fire import Fire, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["postgresql", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the present schema."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.mark.timeout(120)
def test_each_due_instant_has_one_tick_and_one_execution_through_kills_and_wrong_clocks(
    url: str, tmp_path: Path
) -> None:
    fire = Fire(nodes=3, schedules=10, seconds=8, kill_every=3.0, step_every=2.0)
    verdict = run(url, tmp_path, fire)
    assert verdict.problems == []
    assert verdict.kills >= 2
    assert verdict.due == verdict.ticks == verdict.executions >= 70
