"""`mainspring jobs health|backtest`: how jobs are doing, and what a rule would have told of them."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mainspring import Every, Mainspring, Retry, testing
from mainspring.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., str]


@pytest.fixture
async def lived(tmp_path: Path) -> None:
    """A store in which a job has run and failed for some hours, under the eyes of a monitor."""
    app = Mainspring(log_level="error")
    runs = iter("1110001110000111")

    @app.job("import", schedule=Every(timedelta(hours=1)), retry=Retry(max_retries=0))
    def take_in() -> None:
        if next(runs) == "0":
            raise ValueError("disk full")

    path = f"sqlite:///{tmp_path}/mainspring.db"
    async with testing.kit(app, at=datetime(2026, 6, 1, tzinfo=UTC), database_url=path) as kit:
        await kit.advance(timedelta(hours=13, minutes=1))


@pytest.fixture
def command(
    lived: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_health_and_back_test_at_the_terminal(command: Command) -> None:
    (found,) = [job for job in json.loads(command("jobs", "health", "--json")) if job["name"] == "import"]
    assert (found["state"], found["rule"]) == ("failing", "consecutive_failures")
    assert found["sentence"] == "import has failed 4 times in a row, and 3 are too many: disk full"
    assert "failing" in command("jobs", "health")
    ask = ("jobs", "backtest", "import", "--days", "3650", "--rule")
    tested = json.loads(command(*ask, "consecutive_failures", "--json"))
    assert tested["sentence"].startswith("consecutive_failures would have fired 2 times in 3650 d, over 13 runs")
    assert [alert["openedAt"][11:16] for alert in tested["alerts"]] == ["06:00", "12:00"]
    assert "fired 1 time " in command(*ask, "consecutive_failures", "--set", "consecutive_failures=4")
    assert "not once" in command(*ask, "execution_time", "--set", "execution_time=1h")
    assert "is none of staleness" in command(*ask, "nonsense", code=2)
    assert "is none of staleness" in command(*ask, "staleness", "--set", "patience=3", code=2)
    assert "no job is called" in command("jobs", "backtest", "export", "--rule", "staleness", code=1)
