"""The repository as the architecture tests read it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def project_files(repository: Path) -> list[Path]:
    """Every file that is tracked, or would be by `git add .`."""
    listing = subprocess.run(
        # `safe.directory`: CI may check the repository out as another user.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (repository / name for name in listing.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())
