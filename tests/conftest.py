"""What every test gets. Fixtures of one room live in that room's `conftest.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Two busy cores make single examples slow now and then; the timeout of pytest still holds for the whole test.
settings.register_profile("mainspring", deadline=None)
settings.load_profile("mainspring")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Keep the shell's `MAINSPRING_*` out of the tests: each sets what it needs."""
    for name in list(os.environ):
        if name.startswith("MAINSPRING_"):
            monkeypatch.delenv(name)
