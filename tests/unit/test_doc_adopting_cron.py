"""The page about adopting cron: what it shows is what the commands answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mainspring.builtin.tracked_program import DEFAULT_GRACE, STOP_GRACE_SECONDS, TIMED_OUT
from mainspring.domain.crontab import CrontabJob, UnreadableLine, read_crontab
from mainspring.domain.crontab_names import names_of
from mainspring.domain.firing_policy import Tick, TickOutcome, TickReason
from mainspring.domain.tick_words import explain
from mainspring.jobs.command import Command
from mainspring.runtime.program import PASSED_ON
from mainspring.store.scheduling.external_starts import EARLY
from mainspring.world import RealWorld

PAGE = Path(__file__).parents[2] / "docs" / "adopting-cron.md"
TEXT = PAGE.read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_table_is_that_of_the_crontab() -> None:
    items = read_crontab(examples("crontab")[0])
    jobs = [item for item in items if isinstance(item, CrontabJob)]
    for job, name in zip(jobs, names_of(jobs), strict=True):
        row = next(line for line in TEXT.splitlines() if line.startswith(f" {job.line} "))
        assert f" {name} " in row
        assert job.schedule.describe() in row
    [unreadable] = [item for item in items if isinstance(item, UnreadableLine)]
    assert f"crontab.txt, line {unreadable.line}: {unreadable.reason}\n    {unreadable.text}\n" in TEXT


def test_its_lines_for_a_crontab_can_be_read() -> None:
    _, tracked = read_crontab(examples("crontab")[1])
    assert isinstance(tracked, CrontabJob)
    assert tracked.command.startswith("mainspring exec backup ")


def test_its_jobs_are_what_the_crontab_says() -> None:
    names: dict[str, Any] = {}
    exec(compile(examples("python")[0], "example", "exec"), names)  # noqa: S102 - our own page
    definition = names["app"].registry.get("pg_dump").definition
    [entry, *_] = (item for item in read_crontab(examples("crontab")[0]) if isinstance(item, CrontabJob))
    assert (definition.schedule, definition.description) == (entry.schedule, entry.description)
    assert repr(entry.command) in examples("python")[0]


def test_its_figures_are_those_in_force() -> None:
    silent = Tick(RealWorld().now(), TickOutcome.MISSED, TickReason.NOT_STARTED)
    assert explain(silent) in TEXT
    assert f"| {TIMED_OUT} | it took longer" in TEXT
    assert f"`KILL` {STOP_GRACE_SECONDS:g} seconds later" in TEXT
    assert f"`--grace` ({DEFAULT_GRACE.total_seconds() / 60:g} minutes)" in TEXT
    assert f"from {EARLY.total_seconds():g} seconds before" in TEXT
    assert f"`{' '.join(PASSED_ON)}`" in TEXT
    assert Command("x").arguments[0] in TEXT


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not (PAGE.parent / target).exists()] == []
