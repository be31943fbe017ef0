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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.warm_processes import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

FLIGHTS = 2_000
QUOTES = 1_250
DEMO = (sys.executable, "-m", "mainspring", "demo")


@dataclass(frozen=True)
class Demo:
    """A demo that has ended.

    Attributes:
        folder: Where it was started.
        shown: What it wrote to its output.
    """

    folder: Path
    shown: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo without a terminal."""
    folder = prepared(tmp_path_factory.mktemp("demo"))
    ended = subprocess.run(DEMO, check=False, cwd=folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return Demo(folder, ended.stdout)


def prepared(folder: Path) -> Path:
    """Put a few flights where the demo looks for those of an earlier time, as making all of them takes a while."""
    made = folder / ".mainspring-demo"
    made.mkdir()
    connection = sqlite3.connect(made / "flights.db")
    connection.execute("create table flights (date text, carrier text)")
    connection.executemany("insert into flights values (?, 'UA')", [("2013-01-01",)] * FLIGHTS + [("2014-01-01",)])
    connection.commit()
    connection.close()
    return folder


def results_in(shown: str) -> list[dict[str, object]]:
    """Return the result records, which are shown as JSON."""
    return [json.loads(text) for text in re.findall(r"^\{$.*?^\}$", shown, flags=re.DOTALL | re.MULTILINE)]


def test_without_a_terminal_the_demo_ends_after_the_main_job(demo: Demo) -> None:
    quotes, flights = results_in(demo.shown)
    assert (quotes["reportType"], quotes["recordCount"]) == ("quotes", QUOTES)
    assert (flights["reportType"], flights["recordCount"]) == ("flights", FLIGHTS)
    assert list(flights) == ["downloadUrl", "fileSize", "recordCount", "generatedAt", "reportType", "format"]
    file = demo.folder / re.findall(r"^file +(\S+)$", demo.shown, flags=re.MULTILINE)[-1]
    assert file.stat().st_size == flights["fileSize"]
    assert len(file.read_text(encoding="utf-8").splitlines()) == FLIGHTS + 1
    assert "Every Monday at 10:00 AM (Europe/Rome)" in demo.shown
    assert all(label in demo.shown for label in ("Query data (40 %)", "rows per second", "peak memory"))


def test_log_lines_of_the_demo_go_to_its_log_file(demo: Demo) -> None:
    assert "Job started" not in demo.shown
    assert "Job started" in (demo.folder / ".mainspring-demo" / "demo.log").read_text(encoding="utf-8")
    assert ".mainspring-demo/demo.log" in demo.shown


def test_git_sees_nothing_of_the_demo(demo: Demo) -> None:
    subprocess.run(("git", "init", "-q"), check=True, cwd=demo.folder)
    status = subprocess.run(("git", "status", "--short"), check=True, cwd=demo.folder, capture_output=True, text=True)
    assert status.stdout == ""


@contextmanager
def on_a_terminal(folder: Path, *arguments: str) -> Generator[tuple[WarmProcess, int]]:
    """Start the demo on a terminal; return its process, and the file from which its screen is read."""
    screen, terminal = pty.openpty()
    process = WarmProcess(
        (*DEMO[1:], *arguments), env=os.environ | {"COLUMNS": "160"}, cwd=folder, errors=terminal, output=terminal
    )
    os.close(terminal)
    try:
        yield process, screen
    finally:
        process.kill()
        os.close(screen)


def shown_until(screen: int, end: bytes) -> bytes:
    """Read a screen until something stands on it, or nobody writes to it any more."""
    shown = b""
    while end not in shown:
        try:
            shown += os.read(screen, 65_536)
        except OSError:  # what Linux says of a terminal without a program
            break
    return shown


def test_with_a_terminal_the_demo_serves_until_ctrl_c(tmp_path: Path) -> None:
    with on_a_terminal(prepared(tmp_path)) as (demo, screen):
        shown = shown_until(screen, b"Ctrl-C ends it")
        [link] = re.findall(rb"http://127.0.0.1:\d+/ui/sign-in/link\?word=[^\s\x1b]+", shown)
        assert "This link lets you in once." in httpx2.get(link.decode()).text
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0


def test_with_once_the_demo_ends_on_a_terminal_too(tmp_path: Path) -> None:
    with on_a_terminal(prepared(tmp_path), "--once") as (demo, screen):
        assert b"Ctrl-C ends it" not in shown_until(screen, b"Ctrl-C ends it")
        assert demo.wait(30) == 0
