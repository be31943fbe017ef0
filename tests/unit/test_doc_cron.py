"""What the pages say about cron expressions is what comes out."""

from __future__ import annotations

import re
import shlex
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mainspring.cli.main import main
from mainspring.domain.schedule import Cron

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cron.md").read_text(encoding="utf-8")
TEXT = PAGE + (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```console\n\$ mainspring (cron .*)\n([^`]*)```", TEXT)
GOLDEN = re.findall(r"^\| (\S+) \| (\d{4}-\d\d-\d\d) \| `(.+?)` \| (.+?) \| .*\|$", PAGE, re.MULTILINE)


def lines_of(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_an_example_prints_what_the_page_shows(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mainspring", *shlex.split(command)])

    with pytest.raises(SystemExit):
        main()

    written = capsys.readouterr()
    assert lines_of(written.out + written.err) == lines_of(shown)


@pytest.mark.parametrize(("zone", "day", "expression", "instants"), GOLDEN)
def test_the_golden_table_comes_out(zone: str, day: str, expression: str, instants: str) -> None:
    midnights = [date.fromisoformat(day) + timedelta(days=number) for number in (0, 1)]
    start, end = (datetime.combine(midnight, time(), ZoneInfo(zone)).astimezone(UTC) for midnight in midnights)
    fires = Cron(expression, tz=zone).fires(start - timedelta(seconds=1), end - timedelta(seconds=1))

    assert (", ".join(f"{instant:%H:%M}" for instant in fires) or "–") == instants


def test_the_pages_have_examples_and_a_table() -> None:
    assert len(EXAMPLES) > 6
    assert len(GOLDEN) == 16
