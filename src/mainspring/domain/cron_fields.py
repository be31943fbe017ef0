"""Reads a cron expression: the text becomes sets of numbers and a rule for the days.

Five fields (minute, hour, day of month, month, day of week) as in `man 5 crontab`, or six with the seconds first, or
a macro such as `@daily`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mainspring.domain.cron_days import DayRule
from mainspring.domain.cron_syntax import (
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    CronError,
    Token,
    read_field,
)

LONGEST_EXPRESSION: Final = 100
MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIVE_FIELDS: Final = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)


@dataclass(frozen=True, slots=True)
class CronFields:
    """A cron expression that has been read.

    Args:
        seconds: Matching seconds, in order.
        minutes: Matching minutes, in order.
        hours: Matching hours, in order.
        days: The rule for days.
        months: Matching months, in order.
        follows_real_time: Whether the minute or the hour starts with a star. Such a job keeps its rhythm when
            clocks change; any other runs once for each local time (Debian's cron, `man 8 cron`).
        text: The expression with macros expanded and names as numbers; two that read the same are equal.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DayRule
    months: tuple[int, ...]
    follows_real_time: bool
    text: str


@lru_cache(maxsize=1024)
def read_expression(expression: str) -> CronFields:
    """Read a cron expression or a macro such as `@daily`.

    Raises:
        CronError: It cannot be read, or no date can ever match it.
    """
    if len(expression) > LONGEST_EXPRESSION:
        raise CronError(
            f"cron {expression[:20]!r}… has {len(expression)} characters; at most {LONGEST_EXPRESSION} are allowed: "
            "use ranges and steps, or several jobs"
        )
    tokens = _field_tokens(_expand_macro(expression))
    second, minute, hour, day, month, weekday = (read_field(token) for token in tokens)
    rule = DayRule(
        days=day.values,
        special_days=day.special,
        weekdays=weekday.values,
        special_weekdays=weekday.special,
        both=day.is_star or weekday.is_star,
    )
    if not rule.fires_in(month.values):
        raise tokens[3].error("it can never fire: none of its months ever has such a day")
    written = [field.text for field in (second, minute, hour, day, month, weekday)]
    return CronFields(
        seconds=tuple(sorted(second.values)),
        minutes=tuple(sorted(minute.values)),
        hours=tuple(sorted(hour.values)),
        days=rule,
        months=tuple(sorted(month.values)),
        follows_real_time=minute.is_star or hour.is_star,
        text=" ".join(written[1:] if written[0] == "0" else written),
    )


def _expand_macro(expression: str) -> str:
    word = expression.strip().lower()
    if not word.startswith("@"):
        return expression
    if word in MACROS:
        return MACROS[word]
    if word == "@reboot":
        hint = "it has no instants: use OnStartup()"
    elif word.startswith("@every"):
        hint = "an interval is no cron expression: use Every(), for instance Every(minutes=5)"
    else:
        hint = f"unknown macro; use one of {' '.join(MACROS)}"
    raise CronError(f"cron {expression!r}: {hint}")


def _field_tokens(expression: str) -> list[Token]:
    """Cut the expression into six fields, second 0 being understood where there are five."""
    words = list(re.finditer(r"\S+", expression))
    five = len(_FIVE_FIELDS)
    if len(words) not in (five, five + 1):
        year = "a year field is not supported; " if len(words) > five + 1 else ""
        raise CronError(
            f"cron {expression!r} has {len(words)} fields: {year}write five (minute, hour, day of month, month, "
            "day of week), or six with the seconds first"
        )
    kinds = _FIVE_FIELDS if len(words) == five else (SECOND, *_FIVE_FIELDS)
    tokens = [
        Token(_in_capitals(word.group()), word.start() + 1, kind, expression)
        for word, kind in zip(words, kinds, strict=True)
    ]
    return tokens if len(words) > five else [Token("0", 1, SECOND, expression), *tokens]


def _in_capitals(word: str) -> str:
    """Raise ASCII letters only: str.upper() would take a dotless i for an I, and lengthen some words."""
    return word.upper() if word.isascii() else word
