"""An application with reports, on which the handler of `export_report` is tried without a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from mainspring.builtin.export import export_report
from mainspring.domain.execution import Trigger
from mainspring.jobs.context import JobContext, LogLine
from mainspring.reports.local_storage import LocalStorage
from mainspring.reports.source import Report, ReportRegistry
from mainspring.world import RealWorld

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor  # noqa: TID251 - only the type
    from pathlib import Path

    from mainspring.reports.source import ReportRows

EXECUTION = UUID("01890000-0000-7000-8000-000000000001")


class FixedWorld(RealWorld):
    """It is always the same instant, and pools are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.pools: list[ThreadPoolExecutor] = []

    def now(self) -> datetime:
        return datetime(2024, 1, 30, 10, 30, 45, 123_999, tzinfo=UTC)

    def thread_pool(self, size: int, *, name: str) -> ThreadPoolExecutor:
        self.pools.append(super().thread_pool(size, name=name))
        return self.pools[-1]


@dataclass
class RecordingSink:
    """Takes what a handler reports."""

    beats: int = 0
    logs: list[LogLine] = field(default_factory=list[LogLine])
    steps: list[tuple[int, int | None, int, str | None]] = field(
        default_factory=list[tuple[int, int | None, int, str | None]]
    )

    def log(self, context: JobContext[Any], line: LogLine) -> None:
        self.logs.append(line)

    def progressed(self, context: JobContext[Any]) -> None:
        reported = context.reported
        entry = (reported.current_step, reported.total_steps, reported.percent, reported.message)
        if entry not in self.steps:
            self.steps.append(entry)

    def beat(self, context: JobContext[Any]) -> None:
        self.beats += 1

    async def save_checkpoint(self, context: JobContext[Any], value: object) -> None:
        pass


class Bench:
    """An application with reports, and a folder for its exports."""

    def __init__(self, folder: Path) -> None:
        self.world = FixedWorld()
        self.storage = LocalStorage(folder)
        self.reports = ReportRegistry()
        self.sink = RecordingSink()
        self.ctx = self.attempt(fence=5)

    def attempt(self, fence: int) -> JobContext[dict[str, Any]]:
        return JobContext(
            execution_id=EXECUTION,
            job_name="export_report",
            attempt=1,
            fence=fence,
            trigger=Trigger.API,
            node="test",
            payload={},
            sink=self.sink,
            organization_id="acme",
            user_id="ada",
        )

    def add(self, rows: ReportRows, name: str = "custom") -> None:
        self.reports.add(Report(name, rows))

    async def export(self, payload: object) -> dict[str, Any]:
        handler = export_report(self.reports, self.storage, "test", self.world)
        return await handler(self.ctx, cast("dict[str, Any]", payload))

    async def content(self, report: str = "custom", fmt: str = "csv") -> str:
        result = await self.export({"reportType": report, "format": fmt})
        return (self.storage.folder / result["downloadUrl"].rpartition("/")[2]).read_bytes().decode()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.storage.folder.iterdir()) if self.storage.folder.exists() else []
