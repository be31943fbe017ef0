"""`examples/platform`, run as its README says: the platform in one process, and its operator."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def example(repository: Path) -> Path:
    """The folder of the example."""
    return repository / "examples" / "platform"


def run(folder: Path, *arguments: object, **environment: str) -> str:
    """Run a Python program in a folder to its end, which is a good one, and return what it wrote."""
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder, env=os.environ | environment, check=False, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextmanager
def platform_open(example: Path, folder: Path) -> Generator[int]:
    """Run the platform for as long as the block lasts, and return its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(example / "platform_app.py"), "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as platform:
        assert platform.stdout is not None
        try:
            while "the platform is at" not in (line := platform.stdout.readline()):
                assert line, "the platform did not open"
            yield port
        finally:
            platform.terminate()
            platform.communicate(timeout=30)


def documented(example: Path) -> str:
    """Return what the README says that the operator is told."""
    (told,) = re.findall(r"```text\n(.*?)```", (example / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return told


def undated(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d(:\d\d:\d\d\.\d{3}Z)", r"…\1", text)


def test_an_operator_is_told_what_the_readme_says(example: Path, tmp_path: Path) -> None:
    with platform_open(example, tmp_path) as port:
        token = run(tmp_path, "-m", "mainspring", "token", "create", "--user", "olga", "--role", "operator").strip()
        url = f"http://127.0.0.1:{port}"
        told = run(tmp_path, example / "operate.py", "--url", url, PLATFORM_TOKEN=token)
        assert undated(told) == undated(documented(example))

        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
            client.post("/api/jobs/rebuild-search/enable").raise_for_status()
            result = client.post("/admin/jobs/trigger/rebuild-search").json()["data"]
        assert (result["status"], result["messageCode"]) == ("success", "SEARCH_REBUILT")

        arguments = ("-m", "mainspring", "doctor", "--app", "platform_app:app", "--url", url)
        examined = run(tmp_path, *arguments, PYTHONPATH=str(example))
        assert re.search(r"check-sessions +check-sessions +ok +3 sessions", examined)
