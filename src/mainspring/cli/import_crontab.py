"""`import-crontab`: what a crontab says, as a table, and as a module of command jobs."""

from __future__ import annotations

import pwd
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from mainspring.cli.crontab_files import Crontab, Crontabs, read_crontabs
from mainspring.cli.crontab_module import write_module
from mainspring.cli.output import JsonOption, plain, print_json, print_table
from mainspring.domain.crontab import CrontabJob, UnreadableLine
from mainspring.domain.instants import instant_text
from mainspring.domain.schedule import Cron
from mainspring.domain.write_door import verbatim_text

_MOST_SHOWN: Final = 200


def import_crontab(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A crontab, a folder of them, or - for standard input.")],
    write: Annotated[
        str | None, typer.Option("--write", metavar="MODULE", help="Write jobs.py, or a module such as shop.cron.")
    ] = None,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="The zone of its times; default: this machine's.")
    ] = None,
    *,
    system: Annotated[bool, typer.Option("--system", help="Its entries name a user, as in /etc/crontab.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a crontab runs and when, or write it as a module of jobs.

    Entries of /etc/crontab and of files in a cron.d folder name the user they run as; elsewhere give --system. A line
    that cannot be read is told on standard error, and kept as a comment of the module.
    """
    from mainspring.world import RealWorld

    crontabs = read_crontabs(file, tz=tz, is_system=system)
    target = _target(write, force=force)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(write_module(crontabs), encoding="utf-8")
    now = RealWorld().now()
    if as_json:
        print_json(_record(crontabs, target, now))
    elif target is None:
        _print(crontabs, now)
    else:
        module = ".".join(target.with_suffix("").parts)
        typer.echo(f"wrote {len(crontabs.jobs)} jobs to {target}\n\nrun them:  mainspring serve --app {module}:app")
    _tell(crontabs)


def _target(write: str | None, *, force: bool) -> Path | None:
    """Return the file of a module that is named as a file or as Python imports it."""
    if write is None:
        return None
    is_path = write.endswith(".py") or "/" in write
    target = Path(write if is_path else f"{write.replace('.', '/')}.py")
    if not target.with_suffix("").name.isidentifier():
        raise typer.BadParameter(
            f"Python cannot import {target}: name a module, such as cron_jobs.py or shop.cron", param_hint="--write"
        )
    if target.exists() and not force:
        raise typer.BadParameter(
            f"{target} is there already, and nothing was written: choose another, or give --force", param_hint="--write"
        )
    return target


def _print(crontabs: Crontabs, now: datetime) -> None:
    has_users = any(crontab.has_users for crontab in crontabs.files)
    columns = ("line", "name", "runs", "next", *(("user",) if has_users else ()), "command")
    places = [(crontab, job) for crontab in crontabs.files for job in crontab.jobs]
    print_table(
        columns,
        (
            (
                _place(crontabs, crontab, job.line),
                name,
                _words(job),
                _next(job, now),
                *((job.user,) if has_users else ()),
                plain(verbatim_text(job.command, _MOST_SHOWN)),
            )
            for (crontab, job), name in zip(places, crontabs.names, strict=True)
        ),
        empty="there is no entry in it",
        unbroken=1,
    )


def _words(job: CrontabJob) -> str:
    zone = f" ({job.schedule.tz})" if isinstance(job.schedule, Cron) else ""
    return f"{job.schedule.describe()}{zone}"


def _next(job: CrontabJob, now: datetime) -> str | None:
    instant = job.schedule.next_after(now)
    if instant is None or not isinstance(job.schedule, Cron):
        return None
    return instant.astimezone(ZoneInfo(job.schedule.tz)).strftime("%a %Y-%m-%d %H:%M")


def _place(crontabs: Crontabs, crontab: Crontab, line: int) -> str:
    return f"{Path(crontab.origin).name}:{line}" if len(crontabs.files) > 1 else str(line)


def _record(crontabs: Crontabs, target: Path | None, now: datetime) -> dict[str, Any]:
    names = iter(crontabs.names)
    return {
        "module": None if target is None else str(target),
        "jobs": [_job_record(crontab, job, next(names), now) for crontab in crontabs.files for job in crontab.jobs],
        "unreadable": [
            {"file": crontab.origin, "line": item.line, "text": item.text, "reason": item.reason}
            for crontab in crontabs.files
            for item in crontab.items
            if isinstance(item, UnreadableLine)
        ],
        "ignoredFiles": crontabs.ignored,
    }


def _job_record(crontab: Crontab, job: CrontabJob, name: str, now: datetime) -> dict[str, Any]:
    return {
        "file": crontab.origin,
        "line": job.line,
        "name": name,
        "cronExpression": job.expression,
        "timezone": job.schedule.tz if isinstance(job.schedule, Cron) else None,
        "words": job.schedule.describe(),
        "nextRunAt": instant_text(job.schedule.next_after(now)),
        "command": job.command,
        "stdin": job.stdin,
        "user": job.user,
        "environment": dict(job.environment),
        "description": job.description,
    }


def _tell(crontabs: Crontabs) -> None:
    """Say on standard error what was left out, and what looks wrong."""
    for crontab in crontabs.files:
        for item in crontab.items:
            if isinstance(item, UnreadableLine):
                text = verbatim_text(item.text, _MOST_SHOWN)
                typer.echo(f"{crontab.origin}, line {item.line}: {item.reason}\n    {text}", err=True)
        if not crontab.has_users and crontab.jobs and all(map(_begins_with_a_user, crontab.jobs)):
            typer.echo(
                f"{crontab.origin}: every command begins with the name of a user: if that is whom they run as, give "
                "--system",
                err=True,
            )
    if crontabs.ignored:
        typer.echo(f"left out, as cron does for such names: {', '.join(crontabs.ignored)}", err=True)


def _begins_with_a_user(job: CrontabJob) -> bool:
    with suppress(KeyError, ValueError, UnicodeError):
        return bool(pwd.getpwnam(job.command.split(maxsplit=1)[0]))
    return False
