"""The memory of an export is bounded, however many rows it has."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

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
from mainspring.reports.storage import ExportStorage
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
    handler = export_report(reports=reports, storage=ExportStorage(Path(sys.argv[1])), world=RealWorld())
    ctx = JobContext(execution_id=UUID(int=7), job_name="export_report", attempt=1, fence=fence, trigger=Trigger.API,
                     node="test", payload={}, sink=Silence())
    result = await handler(ctx, {"reportType": "rows", "format": "csv", "filters": {"count": count}})
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    return result, peak

_, few = asyncio.run(export(10_000, fence=1))
result, everything = asyncio.run(export(300_000, fence=2))
print(json.dumps({**result, "peakAfterFew": few, "peakAfterAll": everything}))
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    program = [sys.executable, "-c", MEASURED_EXPORTS, str(tmp_path)]
    figures = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
    assert figures["recordCount"] == 300_000
    assert figures["fileSize"] > 20_000_000
    assert figures["peakAfterAll"] - figures["peakAfterFew"] < 8_000  # kB
