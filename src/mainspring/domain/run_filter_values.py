"""The values of the filter language: ages, times, durations and counts as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final
from uuid import UUID

from mainspring.domain.run_filter_keys import CHOICES, Kind

if TYPE_CHECKING:
    from datetime import tzinfo

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|min|[smhdw])")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")
_COUNT: Final = re.compile(r"\d{1,9}")
LONGEST: Final = timedelta(days=36_500)


def seconds_of(value: str) -> float | None:
    """Return the seconds of a span such as `30s`, `1h30m` or `2w`; None: it is none.

    Example:
        >>> seconds_of("1h30m"), seconds_of("soon")
        (5400.0, None)
    """
    if _WHOLE.fullmatch(value) is None:
        return None
    total = sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))
    return total if total <= LONGEST.total_seconds() else None


def count_of(value: str) -> int | None:
    """Return a count; None: it is none."""
    return int(value) if _COUNT.fullmatch(value) and value.isascii() else None


def time_of(value: str, zone: tzinfo) -> datetime | None:
    """Return a date or a time; one that names no zone is meant in `zone`. None: it is none."""
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo is not None else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def fault_of(  # noqa: PLR0911 - one return per kind of value
    key: str, kind: Kind, value: str, *, is_compared: bool
) -> str | None:
    """Return what is wrong with a value, and what would be right; None: nothing.

    Args:
        key: The key that it stands after.
        kind: What the values of the key are.
        value: What was typed.
        is_compared: Whether a sign such as `>` stands before it.
    """
    if is_compared and kind not in {Kind.INSTANT, Kind.DURATION, Kind.COUNT}:
        return f"{key} cannot be compared: leave the sign out"
    match kind:
        case Kind.CHOICE if value not in CHOICES[key]:
            near = get_close_matches(value, CHOICES[key], n=1)
            hint = f"did you mean {near[0]}?" if near else f"it is one of {', '.join(CHOICES[key])}"
            return f"{value!r} is no {key}: {hint}"
        case Kind.INSTANT if not is_compared:
            return f"say before or after: {key}:<2h is within the last two hours, {key}:>2h is longer ago"
        case Kind.INSTANT if seconds_of(value) is None and time_of(value, UTC) is None:
            return f"{value!r} is neither an age such as 2h or 7d nor a time such as 2026-11-22 or 2026-11-22T09:30"
        case Kind.DURATION if not is_compared or seconds_of(value) is None:
            return f"say how long, such as {key}:>30s or {key}:<5m"
        case Kind.COUNT if count_of(value) is None:
            return f"{value!r} is no whole number: write {key}:2 or {key}:>1"
        case Kind.IDENTIFIER if not _is_identifier(value):
            return f"{value!r} is no whole id of a run"
        case _:
            return None


def _is_identifier(value: str) -> bool:
    try:
        return bool(UUID(value))
    except ValueError:
        return False
