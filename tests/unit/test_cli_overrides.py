"""`mainspring jobs overrides`: what admins changed, and for how long it has stood."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from mainspring import Cron, Mainspring
from mainspring.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., str]


async def register_jobs() -> None:
    """Start a node and stop it: from then on the store knows its jobs."""
    app = Mainspring()

    @app.job("digest", schedule=Cron("0 9 * * MON"))
    async def _digest() -> None: ...

    @app.job("report", schedule=Cron("0 6 * * *"))
    async def _report() -> None: ...

    async with app.running(roles=[]):
        pass


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring` in a folder of its own, with jobs that a node has registered, and return what it printed."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(register_jobs())

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def test_what_admins_changed_is_listed_with_what_code_says(command: Command) -> None:
    command("jobs", "cron", "digest", "0 10 * * MON", "--tz", "Europe/Rome", "--reason", "later")
    command("jobs", "disable", "report", "--reason", "loud")
    listed = {item["name"]: item for item in json.loads(command("jobs", "overrides", "--json"))}
    assert set(listed) == {"digest", "report"}
    assert (listed["digest"]["cronExpression"], listed["digest"]["timezone"]) == ("0 10 * * MON", "Europe/Rome")
    assert (listed["report"]["enabled"], listed["report"]["reason"]) == (False, "loud")
    assert listed["digest"]["by"].startswith("terminal:")
    shown = command("jobs", "overrides")
    assert "0 10 * * MON (Europe/Rome)" in shown
    assert "0 9 * * MON, enabled" in shown


def test_what_has_not_stood_long_enough_and_what_was_taken_back_is_not_listed(command: Command) -> None:
    command("jobs", "cron", "digest", "0 10 * * MON")
    assert command("jobs", "overrides", "--older-than", "30d") == "no schedule differs from what code says for 30d\n"
    command("jobs", "cron", "digest", "--reset")
    assert command("jobs", "overrides") == "no schedule differs from what code says\n"
