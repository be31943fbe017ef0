"""`jobs overrides`: what admins put in the place of the code's own words, and has stood for long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mainspring.cli import durations
from mainspring.cli.application import AppOption, app_or_store, run_connected
from mainspring.cli.job_schedules import program
from mainspring.cli.output import JsonOption, local_time, plain, print_json, print_table
from mainspring.domain.instants import instant_text

if TYPE_CHECKING:
    from mainspring.app import Mainspring
    from mainspring.store.jobs.definitions import StoredDefinition
    from mainspring.store.scheduling.stored_schedule import Override

_MOST: Final = 10_000


@program.command()
def overrides(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="DURATION", help="Only what was put there so long ago, such as 30d.")
    ] = "0s",
    app_path: AppOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the schedules that an admin has changed, so that what was meant for a while does not stay for ever."""
    age = durations.read(older_than)

    async def work(app: Mainspring) -> list[StoredDefinition]:
        return await _overridden(app, age)

    found = run_connected(lambda: app_or_store(app_path), work)
    changed = [(job, job.schedule.override) for job in found if job.schedule is not None and job.schedule.override]
    if as_json:
        print_json([_record(job, override) for job, override in changed])
        return
    print_table(
        ("job", "in force", "code says", "by", "since", "until", "reason"),
        (
            (
                job.name,
                _in_force(override),
                _code_says(job),
                plain(override.by),
                local_time(override.at),
                local_time(override.expires_at or override.enabled_until),
                plain(override.reason),
            )
            for job, override in changed
        ),
        empty="no schedule differs from what code says" + (f" for {older_than}" if age else ""),
    )


async def _overridden(app: Mainspring, age: timedelta) -> list[StoredDefinition]:
    from mainspring.store.jobs import definition_pages
    from mainspring.store.jobs.definition_pages import WantedJobs

    wanted = WantedJobs(overridden_before=app.world.now() - age)
    found, _ = await app.opened.database.read(
        lambda connection: definition_pages.page(connection, app.settings.environment, wanted, skip=0, size=_MOST)
    )
    return found


def _in_force(override: Override) -> str:
    enabled = {None: None, True: "enabled", False: "disabled"}[override.enabled]
    zone = "" if override.timezone in {None, "UTC"} else f" ({override.timezone})"
    expression = None if override.expression is None else f"{override.expression}{zone}"
    return ", ".join(part for part in (expression, enabled) if part is not None)


def _code_says(job: StoredDefinition) -> str | None:
    if job.schedule is None:
        return None
    return f"{job.schedule.code.expression}, {'enabled' if job.schedule.code_enabled else 'disabled'}"


def _record(job: StoredDefinition, override: Override) -> dict[str, Any]:
    return {
        "environment": job.environment,
        "name": job.name,
        "cronExpression": override.expression,
        "timezone": override.timezone,
        "enabled": override.enabled,
        "by": override.by,
        "reason": override.reason,
        "at": instant_text(override.at),
        "expiresAt": instant_text(override.expires_at),
        "enabledUntil": instant_text(override.enabled_until),
    }
