"""A consumer that unwraps: what the frameworks and Sentry see of a job that failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FRAMEWORKS = ("fastapi", "starlette", "flask", "django")
CAUSE_AND_FAILURE = ["ValueError", "JobFailed"]


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What each framework saw of a failing view, with a handler and without."""
    program = Path(__file__).parent / "failing_views.py"
    ended = subprocess.run([sys.executable, program], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stderr.splitlines()[-1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_exception_handler_of_a_framework_sees_the_failure_once(seen: dict[str, Any], framework: str) -> None:
    assert seen[framework]["handled"] == [["JobFailed", "ValueError"]]
    assert seen[framework]["statuses"] == [502, 500]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_sentry_sees_the_failure_once_and_the_original_exception_with_it(seen: dict[str, Any], framework: str) -> None:
    assert seen[framework]["events"] == [CAUSE_AND_FAILURE]
