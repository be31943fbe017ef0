"""`mainspring exec` on the command line: how it is called, and what it refuses."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from mainspring.cli.local_zone import zone_of_this_machine
from mainspring.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring` in a folder of its own, without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("MAINSPRING_APP", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        with open(os.devnull) as nothing, monkeypatch.context() as here:  # noqa: PTH123 - as the shell does
            here.setattr(sys, "__stdin__", nothing)
            with pytest.raises(SystemExit) as ended:
                main()
        written = capfd.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


def test_it_ends_as_the_program_does_and_leaves_a_record(command: Command) -> None:
    asked = ("--schedule", "30 2 * * *", "--grace", "5m", "--timeout", "1h", "--retries", "0", "--lock", "nightly")
    assert command("exec", "nightly", *asked, "--", "sh", "-c", "echo out; echo err >&2; exit 3") == (
        3,
        "out\n",
        "err\n",
    )
    code, out, _ = command("jobs", "show", "nightly", "--json")
    assert code == 0
    assert json.loads(out)["code"] | {"external": True, "catch_up": 300, "timeout": 3600} == json.loads(out)["code"]
    [execution] = json.loads(command("executions", "list", "--json")[1])
    assert (execution["status"], execution["jobType"]) == ("failed", "nightly")
    assert "elsewhere" in command("jobs", "show", "nightly")[1]


def test_times_are_those_of_this_machine_unless_somebody_says_others(command: Command) -> None:
    for zone in ((), ("--tz", "Asia/Tokyo")):
        assert command("exec", "nightly", "--schedule", "30 2 * * *", *zone, "--", "true") == (0, "", "")
        schedule = json.loads(command("jobs", "show", "nightly", "--json")[1])["schedule"]
        assert schedule["timezone"] == (zone[1] if zone else zone_of_this_machine())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("bad name", "--", "true"), 3, "cannot be used"),
        (("a", "--schedule", "61 * * * *", "--", "true"), 2, "61 is out of range"),
        (("a", "--schedule", "0 2 * * *", "--tz", "Europe/Roma", "--", "true"), 2, "Europe/Rome"),
        (("a", "--schedule", "@reboot", "--", "true"), 2, "no instants"),
        (("a", "--timeout", "soon", "--", "true"), 2, "not a duration"),
        (("a", "--retries", "-1", "--", "true"), 2, "retries"),
        (("a",), 2, "COMMAND"),
    ],
)
def test_what_cannot_be_meant_runs_nothing(command: Command, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended, out, err = command("exec", *arguments)
    assert (ended, out) == (code, "")
    assert said in " ".join(err.split())
