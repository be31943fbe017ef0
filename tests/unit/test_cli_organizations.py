"""`mainspring organizations` at the terminal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from mainspring.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring organizations` in an empty folder: returns the exit code, and what it wrote to each stream."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", "organizations", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def test_a_limit_is_set_shown_and_taken_back(command: Command) -> None:
    code, out, err = command("limit", "acme", "3")
    assert (code, out) == (0, "")
    assert err.endswith("limited: 3 jobs of acme run at once (it was 5)\n")

    _, shown, _ = command("show", "acme", "--json")
    assert json.loads(shown) == {
        "organization": "acme",
        "running": 0,
        "waiting": 0,
        "maxRunning": 3,
        "isDefault": False,
    }

    assert command("limit", "acme", "--default") == (0, "", "limited: 5 jobs of acme run at once (it was 3)\n")
    _, listed, _ = command("list", "--json")
    assert [(item["maxRunning"], item["isDefault"]) for item in json.loads(listed)] == [(5, True)]


def test_people_read_it_as_a_table(command: Command) -> None:
    command("limit", "acme", "3")
    command("limit", "globex", "--default")

    _, listed, _ = command("list")
    _, shown, _ = command("show", "globex")

    assert [line.split() for line in listed.splitlines() if line.strip().startswith(("acme", "globex"))] == [
        ["acme", "0", "3", "0"],
        ["globex", "0", "5", "(default)", "0"],
    ]
    assert "5 (default)" in shown


@pytest.mark.parametrize("arguments", [("acme",), ("acme", "3", "--default"), ("acme", "many"), ("acme", "--", "-1")])
def test_a_limit_is_a_number_or_the_default(command: Command, arguments: tuple[str, ...]) -> None:
    code, out, _ = command("limit", *arguments)

    assert (code, out) == (2, "")


def test_an_unknown_organization_is_said_to_be_unknown(command: Command) -> None:
    code, _, err = command("show", "acme")

    assert code == 1
    assert "no organization 'acme'" in err
