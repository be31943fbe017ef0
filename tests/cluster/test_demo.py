"""The demo as a person starts it: without a terminal, and with one."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from pathlib import Path

FLIGHTS = 2_000
QUOTES = 1_250
DEMO = (sys.executable, "-m", "mainspring", "demo")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo is started; a few flights are there from an earlier time, as making all of them takes a while."""
    demo = tmp_path / ".mainspring-demo"
    demo.mkdir()
    connection = sqlite3.connect(demo / "flights.db")
    connection.execute("create table flights (date text, carrier text)")
    connection.executemany("insert into flights values (?, 'UA')", [("2013-01-01",)] * FLIGHTS + [("2014-01-01",)])
    connection.commit()
    connection.close()
    return tmp_path


def results_in(shown: str) -> list[dict[str, object]]:
    """Return the result records, which are shown as JSON."""
    return [json.loads(text) for text in re.findall(r"^\{$.*?^\}$", shown, flags=re.DOTALL | re.MULTILINE)]


def test_without_a_terminal_the_demo_ends_after_the_main_job(folder: Path) -> None:
    ended = subprocess.run(DEMO, check=False, cwd=folder, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 0, ended.stderr
    quotes, flights = results_in(ended.stdout)
    assert (quotes["reportType"], quotes["recordCount"]) == ("quotes", QUOTES)
    assert (flights["reportType"], flights["recordCount"]) == ("flights", FLIGHTS)
    assert list(flights) == ["downloadUrl", "fileSize", "recordCount", "generatedAt", "reportType", "format"]
    file = folder / re.findall(r"^file +(\S+)$", ended.stdout, flags=re.MULTILINE)[-1]
    assert file.stat().st_size == flights["fileSize"]
    assert len(file.read_text(encoding="utf-8").splitlines()) == FLIGHTS + 1
    assert "Every Monday at 10:00 AM (Europe/Rome)" in ended.stdout
    assert all(label in ended.stdout for label in ("Query data (40 %)", "rows per second", "peak memory"))


def test_log_lines_of_the_demo_go_to_its_log_file(folder: Path) -> None:
    ended = subprocess.run((*DEMO, "--once"), check=True, cwd=folder, capture_output=True, text=True, timeout=60)

    assert "Job started" not in ended.stdout
    log = (folder / ".mainspring-demo" / "demo.log").read_text(encoding="utf-8")
    assert "Job started" in log
    assert ".mainspring-demo/demo.log" in ended.stdout


def test_git_sees_nothing_of_the_demo(folder: Path) -> None:
    subprocess.run((*DEMO, "--once"), check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)
    subprocess.run(("git", "init", "-q"), check=True, cwd=folder)

    status = subprocess.run(("git", "status", "--short"), check=True, cwd=folder, capture_output=True, text=True)

    assert status.stdout == ""


def test_with_a_terminal_the_demo_serves_until_ctrl_c(folder: Path) -> None:
    main, terminal = pty.openpty()
    with subprocess.Popen(
        DEMO, cwd=folder, stdout=terminal, stderr=terminal, env=os.environ | {"COLUMNS": "160"}
    ) as demo:
        os.close(terminal)
        shown = b""
        while b"Ctrl-C ends it" not in shown:
            shown += os.read(main, 65_536)
        [link] = re.findall(rb"http://127.0.0.1:\d+/ui/sign-in/link\?word=[^\s\x1b]+", shown)
        assert "This link lets you in once." in httpx2.get(link.decode()).text
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    os.close(main)
