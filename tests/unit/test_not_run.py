"""A test for which the machine lacks something is counted in the last line, and fails a run that needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_CONFTEST = "from tests.not_run import pytest_report_teststatus, pytest_sessionfinish, pytest_terminal_summary\n"
_TESTS = """
import pytest
from tests.not_run import not_run

@not_run("no Chromium: install one")
def test_in_a_browser(): ...

@pytest.mark.skip(reason="for another reason")
def test_skipped(): ...

def test_passes(): ...
"""


@pytest.mark.parametrize(("required", "code"), [({}, 0), ({"REQUIRE_BROWSER": "1"}, 1)])
def test_tests_without_a_browser_are_counted_and_fail_only_where_they_are_required(
    tmp_path: Path, repository: Path, required: dict[str, str], code: int
) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "test_it.py").write_text(_TESTS)

    inherited = {name: value for name, value in os.environ.items() if name != "REQUIRE_BROWSER"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:mainspring", "-p", "no:cacheprovider", "--color=no", "."],
        cwd=tmp_path,
        env=inherited | {"PYTHONPATH": str(repository), "PYTEST_ADDOPTS": ""} | required,
        check=False,
        capture_output=True,
        text=True,
    )

    lines = run.stdout.splitlines()
    assert "1 passed, 1 skipped, 1 NOT RUN" in lines[-1]
    assert "NOT RUN: no Chromium: install one" in lines
    assert run.returncode == code
