"""`demo`: the sample application on an embedded store, its main job watched through its own API."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from mainspring.cli.serving import DEFAULT_PORT
from mainspring.errors import ExecutionFailedError

if TYPE_CHECKING:
    from httpx2 import AsyncClient

    from mainspring.app import Mainspring
    from mainspring.cli.demo_display import DemoDisplay
    from mainspring.cli.serving import Served

FOLDER: Final = Path(".mainspring-demo")
LOG: Final = "demo.log"
_HOST: Final = "127.0.0.1"
_ORGANIZATION: Final = "org_acme"
_USER: Final = "user_admin"
_YEAR_OF_FLIGHTS: Final = {"dateFrom": "2013-01-01", "dateTo": "2013-12-31"}
_POLL_SECONDS: Final = 0.1


def demo(
    *, once: Annotated[bool, typer.Option("--once", help="End after the main job, also on a terminal.")] = False
) -> None:
    """Export more than 300,000 real flights with the sample application, then serve it until Ctrl-C.

    Everything is kept in the folder .mainspring-demo of the working directory and used again the next time. Without a
    terminal on standard output, or with --once, it ends after the main job.
    """
    from mainspring.cli.demo_display import DemoDisplay
    from mainspring.cli.output import console
    from mainspring.cli.serve import run_event_loop

    screen = console()
    _enter_folder()
    with Path(LOG).open("a", encoding="utf-8") as log, redirect_stdout(log):
        from mainspring.sample.app import FLIGHTS, app

        display = DemoDisplay(screen, folder=FOLDER)
        display.begin(log_file=LOG)
        display.build_flights(FLIGHTS)
        run_event_loop(_run(app, display, stays=screen.is_terminal and not once))


def _enter_folder() -> None:
    """Work in the demo's folder, on its own store, whatever the environment says for other programs."""
    FOLDER.mkdir(exist_ok=True)
    os.chdir(FOLDER)
    Path(".gitignore").write_text("*\n", encoding="utf-8")
    os.environ |= {
        "MAINSPRING_APP": "mainspring.sample.app:app",
        "MAINSPRING_DATABASE_URL": "sqlite:///mainspring.db",
        "MAINSPRING_EXPORT_DIR": "exports",
    }
    sys.path.insert(0, str(Path.cwd()))


async def _run(app: Mainspring, display: DemoDisplay, *, stays: bool) -> None:
    from mainspring.cli.demo_visitor import sign_in_link
    from mainspring.cli.serve import StopSignals
    from mainspring.cli.serving import serving
    from mainspring.runtime.node import ROLES

    stop = StopSignals()
    async with serving(app, host=_HOST, port=_free_port(), roles=ROLES) as served:
        stop.node = served.node
        stopping = app.world.spawn(stop.wait(), name="demo-stop")
        showing = app.world.spawn(_show_main_job(app, display, served), name="demo")
        await asyncio.wait({showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if showing.done():
            await showing
            if stays and served.url is not None:
                display.stays_at(served.url, await sign_in_link(app, served.url))
                await stopping
        for task in (showing, stopping):
            task.cancel()
        await asyncio.wait({showing, stopping})
        if stop.is_asked:
            display.stopping()


async def _show_main_job(app: Mainspring, display: DemoDisplay, served: Served) -> None:
    from httpx2 import AsyncClient

    from mainspring.cli.token import tokens_of
    from mainspring.domain.access import Role

    display.serves_at(served)
    display.schedules(app.registry, app.world.now())
    token = tokens_of(app).create(_USER, role=Role.MEMBER, organization_id=_ORGANIZATION)
    async with AsyncClient(base_url=served.url or "", headers={"Authorization": f"Bearer {token}"}) as http:
        await _export(app, display, http, "quotes", {})
        await _export(app, display, http, "flights", _YEAR_OF_FLIGHTS)


async def _export(
    app: Mainspring, display: DemoDisplay, http: AsyncClient, report: str, filters: dict[str, str]
) -> None:
    """Create an export as any client does, ask how far it is until it has ended, and show what came of it."""
    from mainspring.cli.demo_display import step_starts
    from mainspring.store.runs import run_logs

    payload = {"reportType": report, "format": "csv", "filters": filters}
    created = await http.post("/v1/jobs", json={"jobType": "export_report", "payload": payload})
    created.raise_for_status()
    address = f"/v1/jobs/{created.json()['jobId']}/status"
    with display.watching(report, address) as watch:
        while True:
            job = (await http.get(address)).raise_for_status().json()["job"]
            watch.shows(job)
            if job["completedAt"] is not None:
                break
            await app.world.sleep(_POLL_SECONDS)
    if job["status"] != "succeeded":
        raise ExecutionFailedError(f"the export of {report} is {job['status']}: {job['errorMessage']}", status="failed")
    execution_id = UUID(job["id"])
    lines = await app.opened.database.read(lambda connection: run_logs.lines_of(connection, execution_id))
    file = Path(app.settings.export_dir, job["result"]["downloadUrl"].rpartition("/")[2])
    display.exported(job, steps=step_starts(lines), file=file)


def _free_port() -> int:
    """Return the usual port, or 0 where something listens there: a demo need not fail for that."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, DEFAULT_PORT))
        except OSError:
            return 0
    return DEFAULT_PORT
