"""`audit verify`, `audit list` and `audit archive` at the terminal, with the exit codes of the contract."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from mainspring import Mainspring
from mainspring.cli.main import main
from mainspring.runtime.sealing import Sealing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring` in an empty folder: returns the exit code, and what it wrote to each stream."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


@pytest.fixture
def audited(command: Command) -> Command:
    """The same, where three entries are sealed."""
    for number in range(3):
        command("key", "create", "--service", f"service-{number}", "--prefix", f"service-{number}.")
    seal()
    return command


def seal() -> None:
    """Seal what waits, as a node does."""

    async def run() -> None:
        app = Mainspring()
        async with app.connected():
            await Sealing(app.opened.database, app.settings, app.world).stop()

    with redirect_stdout(sys.stderr):
        asyncio.run(run())


def tamper(statement: str) -> None:
    with sqlite3.connect("mainspring.db") as connection:
        connection.execute(statement)
    connection.close()


def answer_of(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_an_intact_audit_is_told_with_its_head_and_ends_with_0(audited: Command) -> None:
    verified = answer_of(audited("audit", "verify", "--json"))
    head = f"{verified['head']['sequence']}:{verified['head']['chainHash']}"
    assert (verified["intact"], verified["entries"], verified["first"], verified["waiting"]) == (True, 3, 1, 0)
    code, out, _ = audited("audit", "verify", "--head", head)
    assert (code, out) == (0, f"the audit is intact: 3 entries from sequence 1\nhead: {head}\n")


def test_what_waits_for_a_node_is_told(command: Command) -> None:
    command("key", "create", "--service", "billing", "--prefix", "billing.")
    verified = answer_of(command("audit", "verify", "--json"))
    assert (verified["entries"], verified["waiting"]) == (0, 1)
    assert "1 more wait for their seal" in command("audit", "verify")[1]


def test_a_broken_audit_ends_with_6_and_names_the_first_bad_sequence(audited: Command) -> None:
    head = answer_of(audited("audit", "verify", "--json"))["head"]
    noted = f"{head['sequence']}:{head['chainHash']}"
    tamper(
        "delete from mainspring_audit_entries "
        "where id in (select entry_id from mainspring_audit_seals where sequence = 3)"
    )
    tamper("delete from mainspring_audit_seals where sequence = 3")
    assert audited("audit", "verify")[0] == 0
    code, _, err = audited("audit", "verify", "--head", noted)
    assert code == 6
    assert "the audit is broken at sequence 3" in err
    tamper("update mainspring_audit_entries set actor = 'me'")
    code, out, _ = audited("audit", "verify", "--json")
    assert code == 6
    assert json.loads(out)["problem"]["sequence"] == 1


def test_a_key_that_is_not_that_of_the_audit_ends_with_6(audited: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_SECRET_KEY", "another key than the one that made it")
    code, _, err = audited("audit", "verify")
    assert code == 6
    assert "another secret key" in err


def test_a_head_that_is_none_is_a_mistake_in_usage(command: Command) -> None:
    assert command("audit", "verify", "--head", "12")[0] == 2


def test_an_archive_is_written_and_verified_with_the_store_that_goes_on(audited: Command, tmp_path: Path) -> None:
    audited("key", "create", "--service", "late", "--prefix", "late.")
    seal()
    assert audited("audit", "archive", "old.jsonl", "--before", "yesterday")[0] == 2
    code, out, err = audited("audit", "archive", "old.jsonl", "--before", "2999-01-01")
    assert code == 0, err
    assert "the entries 1 to 3" in out
    seal()
    assert answer_of(audited("audit", "verify", "--json", "old.jsonl"))["first"] == 4
    path = tmp_path / "old.jsonl"
    path.write_bytes(path.read_bytes().replace(b"service-1", b"service-9"))
    code, _, err = audited("audit", "verify", "old.jsonl")
    assert code == 6
    assert "broken at sequence" in err


def test_entries_are_listed_by_actor_and_by_target(audited: Command) -> None:
    entries = answer_of(audited("audit", "list", "--json"))
    assert [entry["after"]["service"] for entry in entries] == ["service-2", "service-1", "service-0"]
    target = entries[1]["target"]
    found = answer_of(audited("audit", "list", "--json", "--target", f"{target['kind']}:{target['id']}"))
    assert found == [entries[1]]
    assert answer_of(audited("audit", "list", "--json", "--actor", "nobody")) == []
    assert len(answer_of(audited("audit", "list", "--json", "--actor", entries[0]["actor"]))) == 3
    assert "api_key.create" in audited("audit", "list")[1]
    assert audited("audit", "list", "--target", "nothing")[0] == 2
