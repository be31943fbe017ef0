"""What code declares of a scheduled job, what stands in its place, and the thresholds, as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from mainspring.web.clock import duration_words
from mainspring.web.threshold_fields import FIELDS
from mainspring.web.words_schedules import SCHEDULE
from mainspring.web.words_thresholds import THRESHOLDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.web.schedule_rows import ShownSchedule

_CONFIGURATION: Final = ("timeout", "retry", "overlap", "misfire", "catch_up", "jitter", "max_running", "depends_on")
_SECONDS: Final = {"timeout", "catch_up", "jitter", "base", "cap", "deadline"}
_SHARE_OF_DELAY: Final = "jitter"
_MS: Final = 1_000


def configuration(row: ShownSchedule) -> list[tuple[str, str]]:
    """Return what is declared of a job and what is in force, each by its name; what is not set is left out."""
    definition, schedule = row.definition, row.schedule
    said = [
        (SCHEDULE.name, row.name),
        (SCHEDULE.queue, definition.queue),
        (SCHEDULE.group, definition.group),
        (SCHEDULE.service, definition.service_name or ""),
        (SCHEDULE.in_code, f"{schedule.code.expression} {schedule.code.timezone}"),
        (SCHEDULE.in_force, f"{schedule.text.expression} {schedule.text.timezone}"),
        (SCHEDULE.enabled_in_code, SCHEDULE.yes if schedule.code_enabled else SCHEDULE.no),
    ]
    said += [(_words(key).capitalize(), _value(row, key)) for key in _CONFIGURATION]
    return [(key, value) for key, value in said if value]


def thresholds(row: ShownSchedule) -> list[tuple[str, str]]:
    """Return the thresholds in force, named and written as in the dialog that changes them."""
    code: Mapping[str, Any] = row.definition.code.get("thresholds") or {}
    override: Mapping[str, Any] = row.definition.override.get("thresholds") or {}
    said: list[tuple[str, str]] = []
    for field in FIELDS:
        declared = field.written(code.get(field.name))
        in_force = field.written(override.get(field.name, code.get(field.name)))
        if in_force != declared:
            value = SCHEDULE.overridden.format(value=in_force or THRESHOLDS.none, code=declared or THRESHOLDS.none)
            said.append((THRESHOLDS.labels[field.name], value))
        elif in_force:
            said.append((THRESHOLDS.labels[field.name], in_force))
    return said


def _value(row: ShownSchedule, key: str) -> str:
    code, override = row.definition.code.get(key), row.definition.override.get(key)
    if override is None or override == code:
        return _plain(key, code)
    return SCHEDULE.overridden.format(value=_plain(key, override), code=_plain(key, code) or THRESHOLDS.none)


def _plain(key: str, value: Any) -> str:  # noqa: ANN401 - JSON of code and overrides
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value)
        return ", ".join(f"{_words(name)} {_part(name, part)}" for name, part in parts.items() if part is not None)
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[Any]", value)))
    if key in _SECONDS:
        return duration_words(value * _MS) if value else THRESHOLDS.none
    return _words(str(value))


def _part(name: str, value: Any) -> str:  # noqa: ANN401 - JSON of code and overrides
    return f"{value * 100:g} %" if name == _SHARE_OF_DELAY else _plain(name, value)


def _words(name: str) -> str:
    return name.replace("_", " ")
