"""What the demo shows: progress while it works, tables when it has worked."""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mainspring.builtin.export import STEPS
from mainspring.cli.output import local_time
from mainspring.domain.english import in_words

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from rich.console import Console
    from rich.progress import TaskID

    from mainspring.cli.serving import Served
    from mainspring.jobs.registry import JobRegistry

_MEGABYTE: Final = 1_000_000


class DemoDisplay:
    """The demo's side of the terminal.

    Args:
        console: Where it draws.
        folder: What the demo's folder is called from where it was started.
    """

    def __init__(self, console: Console, *, folder: Path) -> None:
        self._console = console
        self._folder = folder

    def begin(self, *, log_file: str) -> None:
        """Say where everything is kept."""
        self._console.print("[bold]mainspring demo[/]: the sample application on an embedded SQLite store")
        self._console.print(
            f"[bright_black]all of it is kept in {self._folder}/; log lines go to {self._folder}/{log_file}[/]\n"
        )

    def build_flights(self, database: Path) -> None:
        """Make the table of flights, unless it is there, and show how far it is."""
        from mainspring.sample.flights import build_flights

        if database.exists():
            self._console.print(f"flights     the table is in {self._folder / database}, from an earlier time")
            return
        with self._progress() as progress:
            task = progress.add_task("flights     reading the data set into a table", total=None)
            build_flights(database, progress=lambda done, total: progress.update(task, completed=done, total=total))
        self._console.print(f"flights     the table is made in {self._folder / database}")

    def serves_at(self, served: Served) -> None:
        """Say that the node is up."""
        self._console.print(f"node        {served.name} is up with {', '.join(served.roles)}; its API: {served.url}")

    def schedules(self, registry: JobRegistry, now: datetime) -> None:
        """Show when the jobs of the application fire."""
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, title="Schedules", title_justify="left")
        for column in ("job", "when", "next", "in"):
            table.add_column(column)
        for job in registry:
            definition = job.definition
            if definition.schedule is None:
                continue
            upcoming = definition.schedule.next_after(now)
            zone = getattr(definition.schedule, "tz", "UTC")
            words = definition.schedule.describe() + ("" if zone == "UTC" else f" ({zone})")
            wait = in_words(upcoming - now) if upcoming is not None else None
            table.add_row(definition.name, words, local_time(upcoming), wait)
        self._console.print()
        self._console.print(table)

    @contextmanager
    def watching(self, report: str, address: str) -> Generator[WatchedExport]:
        """Show an export while the block asks how far it is."""
        self._console.print(f"[bold]export of {report}[/]  created by POST /v1/jobs; asking GET {address}")
        with self._progress() as progress:
            yield WatchedExport(self._console, progress, progress.add_task("queued", total=100))

    def exported(self, job: Mapping[str, Any], *, steps: Sequence[datetime], file: Path) -> None:
        """Show what an export has made, how long each step took, and its result record."""
        result = job["result"]
        ended = datetime.fromisoformat(job["completedAt"])
        took = (ended - datetime.fromisoformat(job["startedAt"])).total_seconds()
        table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_row("rows", f"{result['recordCount']:,}")
        table.add_row("bytes", f"{result['fileSize']:,}")
        for (label, percent), seconds in zip(STEPS, durations(steps, ended), strict=False):
            table.add_row(f"{label} ({percent} %)", f"{seconds:.2f} s")
        table.add_row("all steps", f"{took:.2f} s")
        table.add_row("rows per second", f"{result['recordCount'] / max(took, 0.001):,.0f}")
        table.add_row("peak memory of the node", f"{peak_memory() / _MEGABYTE:.0f} MB")
        self._console.print(table)
        path = self._folder / file.resolve().relative_to(Path.cwd())
        self._console.print(f"file        {path}", soft_wrap=True)
        self._console.print("result")
        self._console.print_json(data=result)
        self._console.print()

    def stays_at(self, url: str, sign_in_link: str) -> None:
        """Say that the node goes on, and how to look at it."""
        self._console.print("[bold]dashboard[/]   open this once, within ten minutes, on this machine:")
        self._console.print(sign_in_link, style="bold cyan", soft_wrap=True, highlight=False)
        self._console.print(f"[bold green]serving at {url}[/]: the API is described at {url}/docs. Ctrl-C ends it")

    def stopping(self) -> None:
        """Say that the node ends."""
        self._console.print("stopping: running jobs get their time")

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )


class WatchedExport:
    """One export while it runs: a line for each step that was seen, and a bar where there is a terminal."""

    def __init__(self, console: Console, progress: Progress, task: TaskID) -> None:
        self._console = console
        self._progress = progress
        self._task = task
        self._seen: tuple[str, int] | None = None

    def shows(self, job: Mapping[str, Any]) -> None:
        """Show the job as the API has it now."""
        step: int = job["currentStep"]
        label = STEPS[step - 1].label if step else ""
        self._progress.update(self._task, completed=job["progress"], description=f"{job['status']} {label}")
        if self._seen != (job["status"], step):
            self._seen = (job["status"], step)
            at = datetime.fromisoformat(job["updatedAt"]).astimezone()
            where = f"step {step} of {len(STEPS)}  {label}" if step else ""
            self._console.print(f"{at:%H:%M:%S}  {job['status']:<9} {job['progress']:>3} %  {where}".rstrip())


def step_starts(lines: Sequence[Any]) -> list[datetime]:
    """Return when each step began, from the log lines of an export."""
    return [line.at for line in lines if line.fields and "step" in orjson.loads(line.fields)]


def durations(starts: Sequence[datetime], end: datetime) -> list[float]:
    """Return the seconds between each start and the next, the last one until the end."""
    ends = [*starts[1:], end]
    return [max(timedelta(0), after - before).total_seconds() for before, after in zip(starts, ends, strict=True)]


def peak_memory() -> int:
    """Return the most bytes that this process has had in memory."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
