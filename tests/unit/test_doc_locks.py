"""What the page on locks and its example show works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.valkey import Valkey


async def test_the_blocks_of_the_page_run(repository: Path, valkey: Valkey) -> None:
    page = (repository / "docs" / "locks.md").read_text(encoding="utf-8")
    declarations, alone = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"Report": object}
    exec(compile(declarations, "locks.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page
    assert names["app"].registry.get("sync-orders").handler.context_parameter == "ctx"

    alone, _, run = alone.replace("redis://localhost:6379/0", valkey.url).rpartition("\n\n\n")
    exec(compile(alone, "locks.md", "exec", dont_inherit=True), names)  # noqa: S102 - as above
    assert run == 'job = await Job.run("nightly", nightly)\n'
    job = await names["Job"].run("nightly", names["nightly"])
    assert (job.status, job.skip_reason) == ("success", None)


def test_the_example_runs_on_one_pod_of_two(repository: Path, valkey: Valkey) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(repository / "examples" / "harness" / "locked_job.py")],
        env=os.environ | {"REDIS_URL": valkey.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    assert "1 of 2 pods ran the job" in ended.stdout
    assert "lock 'pregenerate-configs' is held by process" in ended.stderr
