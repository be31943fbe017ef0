"""What the troubleshooting page tells people to look for is there: commands, error codes, metrics and settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import typer

from mainspring.cli.main import program
from mainspring.errors import MainspringError
from mainspring.settings import PREFIX, Settings
from tests.unit.test_deployed_dashboards import OF_CONTRACT

TEXT: Final = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
CODES: Final = re.compile(r"`([A-Z]+_[A-Z_]+)`")


def test_every_command_that_it_names_exists() -> None:
    tree: Any = typer.main.get_command(program)
    named = set(re.findall(r"mainspring ([a-z]+)(?: ([a-z-]+))?", TEXT)) - {("cannot", "watch")}
    assert len(named) > 15
    for name, inner in named:
        command = tree.get_command(None, name)
        assert command is not None, name
        assert not inner or inner in getattr(command, "commands", {inner: None}), (name, inner)


def test_every_metric_and_setting_that_it_names_exists() -> None:
    assert set(re.findall(r"`(mainspring_\w+)`", TEXT)) <= OF_CONTRACT.keys()
    settings = {name.lower() for name in re.findall(rf"{PREFIX}(\w+)", TEXT)}
    assert settings
    assert settings <= Settings.model_fields.keys()


def test_every_error_code_that_it_names_is_one_of_ours() -> None:
    known = {kind.code for kind in _all_of(MainspringError)}
    codes = {code for code in CODES.findall(TEXT) if not code.startswith(PREFIX)}
    assert codes
    assert codes <= known


def _all_of(kind: type[MainspringError]) -> set[type[MainspringError]]:
    return {kind}.union(*(_all_of(below) for below in kind.__subclasses__()))
