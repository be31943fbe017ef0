"""`executions` and `jobs trigger` at the terminal: who is written down for it, and what of a payload is not shown."""

from __future__ import annotations

import asyncio
import getpass
import json
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.cli.application import load_app
from mainspring.cli.main import main
from mainspring.errors import ExecutionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., str]

APP = """
from mainspring import Mainspring, PermanentError

app = Mainspring()


@app.job("pay", sensitive=["iban", "person"])
async def pay(payload: dict) -> None:
    assert payload["iban"] == "DE89370400440532013000"
    raise PermanentError("not today")
"""
PAYLOAD = {"iban": "DE89370400440532013000", "person": {"name": "Ada"}, "size": 3}
HIDDEN = {"iban": "[hidden]", "person": "[hidden]", "size": 3}


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Command:
    """Run `mainspring` in a folder of its own, and return what it wrote."""
    module = f"paying_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{module}.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MAINSPRING_APP", f"{module}:app")

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        monkeypatch.delitem(sys.modules, module, raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        assert not ended.value.code, written.err
        return written.out

    return run


def fail_once() -> str:
    """Run the job to its end, and return the id of the execution."""

    async def run() -> str:
        app = load_app(None)
        async with app.running():
            execution = await app.enqueue("pay", PAYLOAD)
            with pytest.raises(ExecutionFailedError):
                await execution.wait()
            return str(execution.id)

    return asyncio.run(run())


def audited(folder: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(folder / "mainspring.db") as connection:
        rows = connection.execute(
            "select action, actor, target_id from mainspring_audit_entries order by id"
        ).fetchall()
    connection.close()
    return rows


def test_what_is_done_at_the_terminal_is_done_by_whoever_sits_there(command: Command, tmp_path: Path) -> None:
    failed = fail_once()
    command("executions", "retry", failed)
    asked: Any = json.loads(command("jobs", "trigger", "pay", "--payload", json.dumps(PAYLOAD), "--json"))
    command("executions", "cancel", asked["id"])
    actor = f"terminal:{getpass.getuser()}"
    assert audited(tmp_path) == [
        ("execution.retry", actor, failed),
        ("execution.create", actor, asked["id"]),
        ("execution.cancel", actor, asked["id"]),
    ]
    assert (asked["userId"], asked["trigger"]) == (getpass.getuser(), "admin")


def test_sensitive_fields_are_hidden_where_the_job_itself_is_not_known(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fail_once()
    monkeypatch.delenv("MAINSPRING_APP")
    shown = [json.loads(command("executions", "show", failed, "--json"))]
    shown += json.loads(command("executions", "list", "--json"))
    shown += json.loads(command("jobs", "show", "pay", "--json"))["latest"]
    dumped = command("dump", "--json")
    shown += [record for record in map(json.loads, dumped.splitlines()) if record["kind"] == "execution"]
    shown.append(json.loads(command("executions", "retry", failed, "--json")))
    shown.append(json.loads(command("executions", "cancel", failed, "--json")))
    assert [record["payload"] for record in shown] == [HIDDEN] * 6
