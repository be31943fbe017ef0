"""`mainspring nodes` at the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from mainspring import Mainspring
from mainspring.cli.main import main
from mainspring.store.coordination import cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `mainspring nodes` in an empty folder: returns the exit code, and what it wrote to each stream."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mainspring", "nodes", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return run


async def _enter_a_node(most_slots: int | None = None) -> None:
    async with Mainspring().connected() as app:
        entry = cluster.NodeEntry(
            id=app.world.new_id(),
            environment="dev",
            name="web-1",
            host="host",
            pid=42,
            roles=("api", "worker"),
            version="1.0",
            slots=8,
            most_slots=most_slots,
            queues=("mail", "default"),
        )
        await app.opened.database.tx(lambda connection: cluster.register(connection, entry, lease_seconds=60))


def test_a_node_is_listed_drained_and_resumed(command: Command) -> None:
    assert "`mainspring serve` starts one" in "".join(command("list")[1:])
    asyncio.run(_enter_a_node())

    assert command("drain", "web-1", "--reason", "new kernel")[0] == 0
    [drained] = json.loads(command("list", "--json")[1])
    assert {name: drained[name] for name in ("name", "state", "slots", "queues", "running", "drainingReason")} == {
        "name": "web-1",
        "state": "draining",
        "slots": 8,
        "queues": ["mail", "default"],
        "running": [],
        "drainingReason": "new kernel",
    }
    assert drained["drainingBy"].startswith("terminal:")
    assert "draining" in command("list")[1]

    assert command("resume", "web-1") == (0, "", "resumed: web-1 claims again\n")
    [resumed] = json.loads(command("list", "--json")[1])
    assert (resumed["state"], resumed["drainingSince"]) == ("working", None)


def test_a_node_that_is_not_there_is_said_so(command: Command) -> None:
    code, _, told = command("drain", "web-9")
    assert code == 1
    assert "no node 'web-9' is alive" in told


def test_a_script_reads_how_many_nodes_are_wanted(command: Command) -> None:
    assert command("wanted") == (0, "0\n", "")

    async def enqueue() -> None:
        app = Mainspring()
        app.job("greet")(lambda: None)
        async with app.connected():
            await app.enqueue("greet")

    asyncio.run(enqueue())
    wanted = json.loads(command("wanted", "--json")[1])
    assert wanted == {"wanted": 1, "nodes": 0, "waiting": 1, "running": 0}


def test_slots_that_follow_the_work_are_shown_with_their_bound(command: Command) -> None:
    asyncio.run(_enter_a_node(most_slots=32))
    [listed] = json.loads(command("list", "--json")[1])
    assert (listed["slots"], listed["mostSlots"], listed["busyShare"]) == (8, 32, 0)
    assert "8 of 32" in command("list")[1]
