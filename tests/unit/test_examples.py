"""The examples run as they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ("first_job.py", "3 pages to Ada, at attempt 2"),
        ("harness/alone.py", "pregenerate-configs failed: there are no tenants"),
    ],
)
def test_an_example_ends_well_and_says_what_it_did(repository: Path, tmp_path: Path, example: str, said: str) -> None:
    command = [sys.executable, "-W", "error", str(repository / "examples" / example)]
    ended = subprocess.run(
        command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=50
    )
    assert ended.returncode == 0, ended.stderr
    assert said in ended.stdout
