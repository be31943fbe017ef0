"""Exports a report of the shop from a terminal, with a progress bar: `SHOP_TOKEN=… python export.py orders`.

It follows the job by its event stream, goes on where it was when the stream is cut, and polls where there is none.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

STEPS = ("waiting", "validating", "querying", "processing", "formatting", "writing the file", "finishing")
BUSY = {429, 503}
LAST = {"end", "close"}


def events(http: httpx2.Client, job_id: str) -> Iterator[tuple[str, Any]]:
    """Return the events of a job until it has ended, over as many connections as it takes."""
    headers: dict[str, str] = {}
    pause = 2.0
    while True:
        try:
            with http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=60) as answer:
                if answer.status_code in BUSY:
                    pause = float(answer.headers["retry-after"])
                else:
                    answer.raise_for_status()
                    for block in blocks(answer):
                        if "retry" in block:
                            pause = int(block["retry"]) / 1000
                        if "id" in block:
                            headers["Last-Event-ID"] = block["id"]
                        if "event" in block:
                            yield block["event"], json.loads(block["data"])
                        if block.get("event") in LAST:
                            return
        except httpx2.TransportError:
            pass  # the node went away: another one, or the same, goes on after the last event
        time.sleep(pause)  # noqa: TID251 - a program of its own, that has nothing else to do


def blocks(answer: httpx2.Response) -> Iterator[dict[str, str]]:
    """Return the blocks of an event stream, each with its fields; comments have none."""
    block: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name:
            block[name] = value
        elif not line:
            yield block
            block = {}


def polls(http: httpx2.Client, job_id: str) -> Iterator[tuple[str, Any]]:
    """Return the same from the status of a job, asked for as often as `Retry-After` says."""
    while True:
        answer = http.get(f"/v1/jobs/{job_id}/status").raise_for_status()
        yield "status", answer.json()
        if "retry-after" not in answer.headers:
            return
        time.sleep(float(answer.headers["retry-after"]))  # noqa: TID251 - the same


def follow(http: httpx2.Client, job_id: str, screen: Console, *, poll: bool) -> dict[str, Any]:
    """Show how far a job is, and return it once it has ended."""
    job: dict[str, Any] = {}
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task(STEPS[0], total=100)
        for name, told in (polls if poll else events)(http, job_id):
            if name == "log" and told["level"] in {"warning", "error"}:
                bar.console.print(f"{told['level']}: {told['message']}")
            if name == "status":
                job = told["job"]
            if name in {"status", "progress"}:
                step = told.get("job", told)["currentStep"]
                bar.update(task, completed=told["progress"], description=STEPS[min(step, len(STEPS) - 1)])
    return job


def download(http: httpx2.Client, job: dict[str, Any], folder: Path, screen: Console) -> Path:
    """Write the file of an export to a folder, piece by piece."""
    result = job["result"]
    path = folder / result["downloadUrl"].rpartition("/")[2]
    with (
        Progress(TextColumn("{task.description:<16}"), BarColumn(), DownloadColumn(), console=screen) as bar,
        http.stream("GET", result["downloadUrl"]) as answer,
        path.open("wb") as file,
    ):
        answer.raise_for_status()
        task = bar.add_task("downloading", total=result["fileSize"])
        for piece in answer.iter_bytes():
            file.write(piece)
            bar.advance(task, len(piece))
    return path


def main() -> int:
    """Export one report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", help="for instance orders")
    parser.add_argument("--format", default="csv")
    parser.add_argument("--from", dest="first", help="the first day, as YYYY-MM-DD")
    parser.add_argument("--to", dest="last", help="the last day")
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--server", default="http://localhost:7008")
    parser.add_argument("--poll", action="store_true", help="ask now and then, in the place of the event stream")
    wanted = parser.parse_args()
    filters = {"dateFrom": wanted.first, "dateTo": wanted.last}
    payload = {
        "reportType": wanted.report,
        "format": wanted.format,
        "filters": {name: day for name, day in filters.items() if day},
    }
    screen = Console(stderr=True)
    headers = {"Authorization": f"Bearer {os.environ['SHOP_TOKEN']}"}
    with httpx2.Client(base_url=wanted.server, headers=headers) as http:
        answer = http.post("/v1/jobs", json={"jobType": "export_report", "payload": payload})
        if answer.is_error:
            screen.print(answer.json()["detail"])
            return 1
        job = follow(http, answer.json()["jobId"], screen, poll=wanted.poll)
        if job["status"] != "succeeded":
            screen.print(f"the export is {job['status']}: {job['errorMessage']}")
            return 1
        path = download(http, job, wanted.folder, screen)
    print(f"{job['result']['recordCount']} rows in {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
