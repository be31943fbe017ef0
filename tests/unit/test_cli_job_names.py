"""`mainspring jobs names`: a type that knows the names of an application's jobs."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import get_args

import pytest

from mainspring.cli.main import main

APP = """
from mainspring import Mainspring

app = Mainspring()


@app.job("weekly-digest")
async def weekly_digest() -> None: ...
"""


@pytest.fixture(autouse=True)
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_jobs.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "named_jobs", raising=False)
    monkeypatch.setenv("MAINSPRING_APP", "named_jobs:app")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mainspring", "jobs", "names", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def names_in(path: Path) -> set[str]:
    return set(get_args(runpy.run_path(str(path))["JobName"]))


def test_the_type_holds_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--write", "job_names.py") == 0
    assert names_in(Path("job_names.py")) >= {"export_report", "weekly-digest"}


def test_without_a_file_the_module_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch) == 0
    printed = tmp_path / "printed.py"
    printed.write_text(capsys.readouterr().out)
    assert "weekly-digest" in names_in(printed)


def test_a_check_fails_where_a_name_has_come_since(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--write", "job_names.py", "--check") == 1  # not there yet
    assert "run `mainspring jobs names --write job_names.py`" in capsys.readouterr().err
    run(monkeypatch, "--write", "job_names.py")
    assert run(monkeypatch, "--write", "job_names.py", "--check") == 0
    Path("named_jobs.py").write_text(APP.replace("weekly-digest", "daily-digest"))
    sys.modules.pop("named_jobs")
    assert run(monkeypatch, "--write", "job_names.py", "--check") == 1
    assert "weekly-digest" in names_in(Path("job_names.py"))  # a check writes nothing


def test_a_check_of_nothing_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--check") == 2
