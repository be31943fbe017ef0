"""The memory of an export is bounded, however many rows it has."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# In a process of its own, whose peak no other test has raised.
MEASURED_EXPORTS = """
import asyncio, json, re, sys
from pathlib import Path
from uuid import UUID

from mainspring.builtin.export import export_report
from mainspring.domain.execution import Trigger
from mainspring.jobs.context import JobContext
from mainspring.reports.source import Report, ReportRegistry
from mainspring.reports.local_storage import LocalStorage
from mainspring.world import RealWorld

class Silence:
    def log(self, context, line): pass
    def progressed(self, context): pass
    def beat(self, context): pass

async def rows(filters):
    for number in range(filters["count"]):
        yield {"number": number, "note": f"row {number} of a report that is longer than memory should hold"}

async def export(count, fence):
    reports = ReportRegistry()
    reports.add(Report("rows", rows))
    handler = export_report(reports, LocalStorage(Path(sys.argv[1])), "dev", RealWorld())
    ctx = JobContext(execution_id=UUID(int=7), job_name="export_report", attempt=1, fence=fence, trigger=Trigger.API,
                     node="test", payload={}, sink=Silence())
    result = await handler(ctx, {"reportType": "rows", "format": "csv", "filters": {"count": count}})
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    return result, peak

_, few = asyncio.run(export(10_000, fence=1))
result, everything = asyncio.run(export(300_000, fence=2))
print(json.dumps({**result, "peakAfterFew": few, "peakAfterAll": everything}))
"""


@pytest.mark.parametrize(
    ("form", "database"),
    [("csv", "sqlite"), ("jsonl", "sqlite"), ("xlsx", "sqlite"), ("parquet", "sqlite"), ("csv", "postgresql")],
)
def test_the_proof_of_exports_holds_for_few_rows(
    form: str, database: str, request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    if database == "sqlite":
        url = f"sqlite:///{tmp_path}/sales.db"
    else:
        url = request.getfixturevalue("postgresql_server").get_uri()
    options = ["--rows", "20000", "--any-time", "--database", url, "--formats", form]
    program = [sys.executable, "-m", "benchmarks.proofs.export_1m", *options]
    proof = subprocess.run(program, cwd=repository, capture_output=True, check=False, text=True)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert "20,000 rows" in proof.stdout


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    program = [sys.executable, "-c", MEASURED_EXPORTS, str(tmp_path)]
    figures = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
    assert figures["recordCount"] == 300_000
    assert figures["fileSize"] > 20_000_000
    assert figures["peakAfterAll"] - figures["peakAfterFew"] < 8_000  # kB
