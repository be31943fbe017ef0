"""`doctor` asks what the self-check asks, of a deployment that may not even start, and ends with the code of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from mainspring.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]], dict[str, str]]]

APP = """
from mainspring import Mainspring

app = Mainspring()
app.variable("BILLING_TIMEOUT", float)


@app.check("stock")
async def stock() -> str:
    async with app.connected():
        return f"{len(app.registry)} jobs"


@app.check("shelf")
def shelf() -> None:
    raise ValueError("it is [empty]")
"""


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Run `mainspring doctor --json`: returns its exit code, its checks by name, and the status of each script."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, dict[str, Any]], dict[str, str]]:
        code, out = _run(monkeypatch, capsys, "doctor", "--json", *arguments)
        report = json.loads(out)
        assert report["ok"] == (code == 0)
        return (
            code,
            {check["check"]: check for check in report["checks"]},
            {script["name"]: script["status"] for script in report["scripts"]},
        )

    return run


def _run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().out


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the present version, to be copied."""
    path = tmp_path_factory.mktemp("doctor") / "store.db"

    async def make() -> None:
        async with Mainspring(database_url=f"sqlite:///{path}").connected():
            pass

    asyncio.run(make())
    return path


@pytest.fixture
def store(tmp_path: Path, migrated: Path) -> Path:
    """A store of the present version, where the command looks for it."""
    return Path(shutil.copy(migrated, tmp_path / "mainspring.db"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An application with checks of its own, importable: `module:app`."""
    module = f"doctored_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{module}.py").write_text(APP)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MAINSPRING_APP", f"{module}:app")
    return f"{module}:app"


def test_without_an_application_it_asks_the_four_scripts(doctor: Doctor, store: Path) -> None:
    code, checks, scripts = doctor()
    assert code == 0
    assert scripts == {
        "validate-env": "passed", "validate-db": "passed", "validate-migrations": "passed", "validate-api": "skipped",
    }  # fmt: skip
    assert {"settings", "disk space", "reachable", "clock", "writable", "schema", "nodes alive"} <= checks.keys()
    assert checks["clock"]["script"] == "validate-db"
    assert str(store.parent) in checks["disk space"]["detail"]


def test_it_neither_makes_nor_upgrades_a_store(doctor: Doctor, shop: str) -> None:
    code, checks, scripts = doctor("--app", shop)
    assert (code, checks["schema"]["verdict"], checks["writable"]["verdict"]) == (3, "failed", "skipped")
    assert scripts["check-stock"] == scripts["check-shelf"] == "skipped"
    assert doctor("--app", shop)[2]["validate-migrations"] == "failed"


def test_it_asks_the_checks_and_variables_of_the_application(
    doctor: Doctor, store: Path, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.exists()
    code, checks, scripts = doctor("--app", shop)
    assert (code, checks["variables"]["detail"]) == (3, "BILLING_TIMEOUT (float) is not set: set it for this process")
    monkeypatch.setenv("BILLING_TIMEOUT", "2.5")
    code, checks, scripts = doctor()
    assert (code, scripts["check-stock"], scripts["check-shelf"]) == (1, "passed", "failed")
    assert checks["check-shelf"]["detail"] == "ValueError: it is [empty]"


def test_people_get_a_table(
    store: Path, shop: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert store.exists()
    monkeypatch.chdir(tmp_path)
    code, out = _run(monkeypatch, capsys, "doctor", "--app", shop)
    assert code == 3
    [line] = [line for line in out.splitlines() if "check-shelf" in line]
    assert line.split() == ["check-shelf", "check-shelf", "failed", "ValueError:", "it", "is", "[empty]"]


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("POLL", "often", (3, "settings and application")),
        ("APP", "nowhere:app", (3, "settings and application")),
        ("DATABASE_URL", "sqlite:///not/there/store.db", (4, "folder")),
        ("DATABASE_URL", "postgresql://ada@127.0.0.1:1/store", (4, "validate-db")),
    ],
)
def test_what_keeps_it_from_starting_is_an_answer_too(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, told: tuple[int, str]
) -> None:
    monkeypatch.setenv(f"MAINSPRING_{setting}", value)
    code, checks, _ = doctor()
    first = next(check for check in checks.values() if check["verdict"] == "failed")
    assert (code, first["check"]) == told


@pytest.mark.parametrize("said", ["option", "setting"])
def test_the_api_is_asked_where_the_command_or_the_public_url_says(
    doctor: Doctor, store: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    assert store.exists()
    nobody = "http://127.0.0.1:1"
    monkeypatch.setenv("MAINSPRING_PUBLIC_URL", nobody if said == "setting" else "http://127.0.0.1:2")
    code, checks, scripts = doctor(*(["--url", nobody] if said == "option" else []))
    assert (code, scripts["validate-api"]) == (1, "failed")
    assert checks["/healthz"]["detail"].startswith(f"{nobody} took no connection")
