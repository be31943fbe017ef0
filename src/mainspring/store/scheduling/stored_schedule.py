"""Schedules as the store keeps them: what code declares, in text that people can read, and what admins changed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mainspring.domain.schedule import Cron, Every, OnStartup
from mainspring.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mainspring.domain.schedule import Schedule

_EVERY: Final = re.compile(r"@every (\d+)(s|ms)(?: from (\S+))?")
_MILLISECOND: Final = timedelta(milliseconds=1)
_ANCHORED_AT_EPOCH: Final = Every(_MILLISECOND).anchor


@dataclass(frozen=True, slots=True)
class ScheduleText:
    """A schedule as three columns.

    Attributes:
        kind: `cron`, `interval` or `startup`.
        expression: A cron expression, `@every 300s` (with `from` an instant, where it has an anchor), or `@reboot`.
        timezone: The name of an IANA time zone; `UTC` where none matters.
    """

    kind: str
    expression: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Who stopped a schedule from firing, and until when; None: until somebody resumes it."""

    at: datetime
    until: datetime | None
    by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Override:
    """What an admin put in the place of the code's own word; None: nothing in its place.

    Attributes:
        by: Who changed it last; as `reason` and `at` of that change.
        expires_at: Until when expression and time zone hold; None: until somebody takes them back.
        enabled_until: The same for `enabled`.
    """

    expression: str | None
    timezone: str | None
    enabled: bool | None
    by: str | None
    reason: str | None
    at: datetime | None
    expires_at: datetime | None
    enabled_until: datetime | None


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """When a job fires, as the store keeps it.

    Attributes:
        code: What code declares.
        code_enabled: Whether code lets it fire.
        override: What an admin changed, if that is in force now.
        pause: A pause that is in force now.
        next_run_at: The next instant at which it fires; None: none is in sight.
        watermark: The last instant that has a tick.
        problem: Why it cannot fire at all.
        retired_at: Since when code no longer declares it.
        has_condition: Whether its code is asked before each run.
        version: Grows with each change.
    """

    code: ScheduleText
    code_enabled: bool
    override: Override | None
    pause: Pause | None
    next_run_at: datetime | None
    watermark: datetime | None
    problem: str | None
    retired_at: datetime | None
    has_condition: bool
    version: int

    @property
    def text(self) -> ScheduleText:
        """Return what is in force now."""
        if self.override is None or self.override.expression is None:
            return self.code
        return ScheduleText("cron", self.override.expression, self.override.timezone or self.code.timezone)

    @property
    def enabled(self) -> bool:
        """Whether it fires now."""
        if self.retired_at is not None or self.pause is not None:
            return False
        overridden = self.override.enabled if self.override is not None else None
        return self.code_enabled if overridden is None else overridden

    @property
    def schedule(self) -> Schedule:
        """Return the schedule in force now, ready to be asked for its instants."""
        return schedule_of(self.text)


def text_of(schedule: Schedule) -> ScheduleText:
    """Return what is kept of a schedule.

    Example:
        >>> text_of(Every(minutes=5)).expression
        '@every 300s'
    """
    match schedule:
        case Cron():
            return ScheduleText("cron", schedule.expression, schedule.tz)
        case Every():
            milliseconds = schedule.interval // _MILLISECOND
            length = f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
            anchor = "" if schedule.anchor == _ANCHORED_AT_EPOCH else f" from {schedule.anchor.isoformat()}"
            return ScheduleText("interval", f"@every {length}{anchor}", "UTC")
        case OnStartup():
            return ScheduleText("startup", "@reboot", "UTC")


def schedule_of(text: ScheduleText) -> Schedule:
    """Return the schedule that `text_of` wrote.

    Raises:
        CronError: The cron expression cannot be read any more, or its zone is no longer known.
        IntegrityError: The text is of another form.
    """
    if text.kind == "cron":
        return Cron(text.expression, text.timezone)
    if text.kind == "startup":
        return OnStartup()
    match = _EVERY.fullmatch(text.expression)
    if match is None:
        raise IntegrityError(f"the store holds the interval {text.expression!r}, which reads like none that it writes")
    count, unit, anchor = match.groups()
    interval = timedelta(milliseconds=int(count) * (1000 if unit == "s" else 1))
    return Every(interval, anchor=datetime.fromisoformat(anchor) if anchor else None)


def stored_schedule(row: Any, at: datetime | None = None) -> StoredSchedule:  # noqa: ANN401 - a row of either driver
    """Return the schedule in a row whose columns of `schedules` begin with `s_`.

    Args:
        row: The row; its `now` is the store's instant.
        at: When what is in force is asked for; by default `now`.
    """
    facts = row._mapping
    instant: datetime = at or facts["now"]
    return StoredSchedule(
        code=ScheduleText(facts["s_kind"], facts["s_code_expression"], facts["s_code_timezone"]),
        code_enabled=facts["s_code_enabled"],
        override=_override(facts, instant),
        pause=_pause(facts, instant),
        next_run_at=facts["s_next_run_at"],
        watermark=facts["s_watermark"],
        problem=facts["s_problem"],
        retired_at=facts["s_retired_at"],
        has_condition=facts["s_has_condition"],
        version=facts["s_version"],
    )


def _is_in_force(until: datetime | None, at: datetime) -> bool:
    return until is None or until >= at


def _override(facts: Mapping[Any, Any], at: datetime) -> Override | None:
    has_expression = facts["s_override_expression"] is not None and _is_in_force(facts["s_override_expires_at"], at)
    has_enabled = facts["s_override_enabled"] is not None and _is_in_force(facts["s_override_enabled_until"], at)
    if not has_expression and not has_enabled:
        return None
    return Override(
        expression=facts["s_override_expression"] if has_expression else None,
        timezone=facts["s_override_timezone"] if has_expression else None,
        enabled=facts["s_override_enabled"] if has_enabled else None,
        by=facts["s_override_by"],
        reason=facts["s_override_reason"],
        at=facts["s_override_at"],
        expires_at=facts["s_override_expires_at"] if has_expression else None,
        enabled_until=facts["s_override_enabled_until"] if has_enabled else None,
    )


def _pause(facts: Mapping[Any, Any], at: datetime) -> Pause | None:
    if facts["s_paused_at"] is None or not _is_in_force(facts["s_paused_until"], at):
        return None
    return Pause(facts["s_paused_at"], facts["s_paused_until"], facts["s_paused_by"], facts["s_paused_reason"])
