"""The rules for Prometheus, run by its own `promtool`: each alert fires where it should, and only there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.not_run import not_run

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yml"
CASES: Final = RULES.with_name("rules_test.yml")
_FETCHED: Final = ROOT / "build" / "prometheus" / "usr" / "bin" / "promtool"
_PROMTOOL: Final = shutil.which(os.environ.get("PROMTOOL", "promtool")) or shutil.which(_FETCHED)
_HOW_TO_GET_IT: Final = (
    "no promtool: `apt-get install prometheus` brings it (./dev test fetches it for root), or name one by PROMTOOL"
)
pytestmark = [] if _PROMTOOL else [not_run(_HOW_TO_GET_IT)]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert _PROMTOOL is not None
    return subprocess.run([_PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_prometheus_takes_every_rule() -> None:
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_when_everything_goes_wrong_and_none_in_a_quiet_hour() -> None:
    tested = promtool("test", "rules", str(CASES))
    assert tested.returncode == 0, tested.stdout + tested.stderr
