"""The cron-tracking document, read by a program: its table, its enum, its addresses, its tasks."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).with_name("cron-tracking.md")
"""A copy, word for word."""


def columns() -> list[str]:
    """Return the columns of `T_CronJobExecutions`."""
    (body,) = re.findall(r"// T_CronJobExecutions table\n\{\n(.*?)\n\}", _text(), re.DOTALL)
    return re.findall(r"^  (\w+):", body, re.MULTILINE)


def statuses() -> list[str]:
    """Return the words of its `status`."""
    (words,) = re.findall(r"status: enum \((.*?)\)", _text())
    return re.findall(r"'(\w+)'", words)


def addresses() -> list[tuple[str, str]]:
    """Return the method and path of each address that its tasks name."""
    return re.findall(r"(GET|POST|PATCH) (/admin/cron-jobs[/:\w]*)", _text())


def thresholds() -> dict[str, float]:
    """Return the monitoring thresholds, as they are written."""
    (body,) = re.findall(r"alertThresholds:\n(.*?)```", _text(), re.DOTALL)
    return {name: float(value) for name, value in re.findall(r"^  (\w+): ([\d.]+)", body, re.MULTILINE)}


def tasks() -> list[str]:
    """Return each of its smallest tasks as `phase.number`, for instance `4.1.1.a`."""
    found: list[str] = []
    for phase, body in re.findall(r"^# Phase (\d):.*?\n(.*?)(?=^# Phase|\Z)", _text(), re.DOTALL | re.MULTILINE):
        found += [f"{phase}.{task}" for task in re.findall(r"^#+ Task (\d\.\d\.[a-z]) ", body, re.MULTILINE)]
    return found


def _text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")
