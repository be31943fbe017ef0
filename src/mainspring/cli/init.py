"""`init`: the files of a first application."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mainspring.errors import ConfigurationError

JOBS: Final = '''"""The jobs of this application: `mainspring serve` runs them."""

from datetime import timedelta

from pydantic import BaseModel

from mainspring import Cron, JobContext, Mainspring, Retry, Thresholds

app = Mainspring()


class Greeting(BaseModel):
    """Who is greeted."""

    name: str = "world"


@app.job(
    "greet",
    schedule=Cron("0 9 * * MON-FRI"),
    timeout=timedelta(minutes=1),
    retry=Retry(max_retries=3, base=timedelta(seconds=10)),
    thresholds=Thresholds(staleness=timedelta(days=4)),
)
async def greet(ctx: JobContext[Greeting], greeting: Greeting) -> str:
    """Greet somebody every weekday morning."""
    ctx.log("greeting", name=greeting.name)
    return f"hello, {greeting.name}"
'''
_SETTINGS: Final = """# Settings of every node; MAINSPRING_* in the environment wins over them.
app = "jobs:app"
database_url = "sqlite:///mainspring.db"
"""
_TEST: Final = '''"""What the jobs promise."""

import asyncio

from jobs import Greeting, app, greet
from mainspring import testing


def test_greeting_somebody_by_name() -> None:
    async def run() -> str:
        async with testing.kit(app, inline=True):  # on a store in memory, for this test alone
            execution = await greet.enqueue(Greeting(name="Ada"))
            return await execution.wait()

    assert asyncio.run(run()) == "hello, Ada"
'''
_FILES: Final = {"jobs.py": JOBS, "mainspring.toml": _SETTINGS, "test_jobs.py": _TEST}


def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write.")] = Path()) -> None:
    """Write an application with one job, its settings, and a test that passes."""
    present = [name for name in _FILES if (folder / name).exists()]
    if present:
        raise ConfigurationError(
            f"{folder / present[0]} is there already, and nothing was written: choose a new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
        typer.echo(f"wrote {folder / name}")
    enter = "" if folder == Path() else f"cd {folder} && "
    for does, command in (("run", "mainspring serve"), ("test", "python -m pytest"), ("check", "mainspring check")):
        typer.echo(f"{does + ' it:':<10}{enter}{command}")
