"""Reads one field of a cron expression: its numbers, names, lists, ranges, steps and marks.

Whatever cannot be read is answered by a `CronError` that names the field, the character and what to write instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mainspring.domain.cron_days import (
    DAYS_IN_WEEK,
    LastDay,
    LastWeekday,
    LastWorkday,
    NearestWorkday,
    NthWeekday,
    SpecialDay,
)
from mainspring.errors import MainspringError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_WEEKS_IN_A_MONTH: Final = 5


class CronError(MainspringError, ValueError):
    """The cron expression cannot be read, or can never fire; the message says where and what to write instead.

    Attributes:
        field: The field at fault, for instance `hour` or `day of month`; None when it is the whole expression.
        position: The character at fault, counted from 1 in the expression as it was given; None as above.
    """

    code = "INVALID_CRON"

    def __init__(self, message: str, *, field: str | None = None, position: int | None = None) -> None:
        """Keep the message and the place."""
        super().__init__(message)
        self.field = field
        self.position = position


@dataclass(frozen=True, slots=True)
class FieldKind:
    """One of the six fields: its name in messages, its numbers, and the names that stand for them, from `low` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def largest(self) -> int:
        """The largest number that may be written: 7 is Sunday once more."""
        return DAYS_IN_WEEK if self is DAY_OF_WEEK else self.high


SECOND: Final = FieldKind("second", 0, 59)
MINUTE: Final = FieldKind("minute", 0, 59)
HOUR: Final = FieldKind("hour", 0, 23)
DAY_OF_MONTH: Final = FieldKind("day of month", 1, 31)
MONTH: Final = FieldKind(
    "month", 1, 12, ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
)
DAY_OF_WEEK: Final = FieldKind("day of week", 0, 6, ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))

# What other schedulers write and this one does not, and what to write instead.
_HINTS: Final[tuple[tuple[FieldKind | None, str, str], ...]] = (
    (None, "", "a number is missing here"),
    (None, "H.*", "'H' is not supported: write a number, and spread jobs with jitter="),
    (None, ".*~.*", "random ranges are not supported: write a number, and spread jobs with jitter="),
    (None, "[?]", "'?' stands only in the day fields; write *"),
    (DAY_OF_WEEK, "L", "'L' needs a weekday here; write 5L for the last Friday, or 6 for every Saturday"),
    (DAY_OF_MONTH, "L-.*", "days counted from the end are not supported; write L for the last day"),
    (DAY_OF_MONTH, "[0-9LW]+", "write L, LW or a day as in 15W, each alone or in a list"),
    (DAY_OF_WEEK, "[0-9A-Z]*[L#].*", "write a weekday as in 5L or 5#2, each alone or in a list"),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the expression, in capitals, that knows where it stands, so that an error can point at it."""

    text: str
    position: int
    kind: FieldKind
    expression: str

    def split(self, separator: str) -> list[Token]:
        """Cut at each separator."""
        pieces: list[Token] = []
        position = self.position
        for text in self.text.split(separator):
            pieces.append(Token(text, position, self.kind, self.expression))
            position += len(text) + len(separator)
        return pieces

    def without_end(self, mark: str) -> Token:
        """Cut off a mark at the end."""
        return Token(self.text.removesuffix(mark), self.position, self.kind, self.expression)

    def error(self, problem: str) -> CronError:
        """Return the error that says what is wrong here."""
        return CronError(
            f"cron {self.expression!r}, {self.kind.name}, character {self.position}: {problem}",
            field=self.kind.name,
            position=self.position,
        )


@dataclass(frozen=True, slots=True)
class Field:
    """A field that has been read: its plain numbers and its special marks."""

    values: frozenset[int]
    special: tuple[SpecialDay, ...]
    text: str

    @property
    def is_star(self) -> bool:
        """Whether the field *starts with* a star, which is what Debian's rules ask."""
        return self.text.startswith("*")


def read_field(token: Token) -> Field:
    """Read a whole field.

    Raises:
        CronError: Some item of it cannot be read.
    """
    values: set[int] = set()
    special: list[SpecialDay] = []
    written: list[str] = []
    for item in token.split(","):
        found = _read_special(item)
        if found is None:
            plain, text = _read_plain(item)
            values.update(plain)
        else:
            mark, text = found
            special.append(mark)
        written.append(text)
    return Field(frozenset(values), tuple(special), ",".join(written))


def _read_special(item: Token) -> tuple[SpecialDay, str] | None:
    """Read `L LW 15W` in the day of month, `5L 5#2` in the day of week; None for anything else."""
    if item.kind is DAY_OF_MONTH:
        if item.text == "L":
            return LastDay(), "L"
        if item.text == "LW":
            return LastWorkday(), "LW"
        if re.fullmatch(r"[0-9]+W", item.text):
            day = _number(item.without_end("W"))
            return NearestWorkday(day), f"{day}W"
    elif item.kind is DAY_OF_WEEK:
        if re.fullmatch(r"([0-9]+|[A-Z]{3})L", item.text):
            weekday = _number(item.without_end("L")) % DAYS_IN_WEEK
            return LastWeekday(weekday), f"{weekday}L"
        if item.text.count("#") == 1:
            return _read_nth(*item.split("#"))
    return None


def _read_nth(name: Token, nth: Token) -> tuple[SpecialDay, str]:
    weekday = _number(name) % DAYS_IN_WEEK
    if not re.fullmatch(f"[1-{_MOST_WEEKS_IN_A_MONTH}]", nth.text):
        raise nth.error(f"{nth.text!r} is not a week of the month; after # write 1 to {_MOST_WEEKS_IN_A_MONTH}")
    return NthWeekday(weekday, int(nth.text)), f"{weekday}#{nth.text}"


def _read_plain(item: Token) -> tuple[Sequence[int], str]:
    """Read `*`, `5`, `1-5`, `*/15`, `10-40/5` or `7/20`, and return its numbers and its plain spelling."""
    base, *steps = item.split("/")
    if len(steps) > 1:
        raise steps[1].error("a second '/'; write one step, as in */15")
    step = _step(steps[0]) if steps else 1
    kind = item.kind
    if base.text == "*" or (base.text == "?" and kind in (DAY_OF_MONTH, DAY_OF_WEEK)):
        values, text = range(kind.low, kind.high + 1), "*"
    elif "-" in base.text and not base.text.startswith("L"):
        values, text = _read_range(base)
    else:
        start = _number(base)
        start = start % DAYS_IN_WEEK if kind is DAY_OF_WEEK else start
        values, text = range(start, kind.high + 1 if steps else start + 1), str(start)
    return values[::step], f"{text}/{step}" if step > 1 or (steps and text.isdigit()) else text


def _read_range(base: Token) -> tuple[Sequence[int], str]:
    """Read `1-5`; where the end is below the start it runs through the end of the field, as 22-2 through midnight."""
    if base.text.count("-") > 1:
        raise base.error(f"{base.text!r} is not a range; write two numbers, as in {base.kind.low}-{base.kind.high}")
    first, last = (_number(end) for end in base.split("-"))
    if first <= last:
        values = list(range(first, last + 1))
    else:
        values = [*range(first, base.kind.high + 1), *range(base.kind.low, last + 1)]
    if base.kind is DAY_OF_WEEK:
        values = [weekday % DAYS_IN_WEEK for weekday in values]
    return values, f"{first}-{last}"


def _step(token: Token) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,3}", token.text):
        raise token.error(f"{token.text!r} is not a step; after '/' write a whole number from 1, as in */15")
    return int(token.text)


def _number(token: Token) -> int:
    """Read a number or a name of the field."""
    kind = token.kind
    if token.text in kind.names:
        return kind.low + kind.names.index(token.text)
    if re.fullmatch(r"[0-9]+", token.text):
        value = int(token.text)
        if kind.low <= value <= kind.largest:
            return value
        raise token.error(f"{token.text} is out of range; write {kind.low} to {kind.largest}")
    raise token.error(_hint(token) or f"{token.text!r} is not known here; write {_choices(kind)}")


def _choices(kind: FieldKind) -> str:
    names = f" or {' '.join(kind.names)}" if kind.names else ""
    return f"{kind.low} to {kind.largest}{names}, a list (1,2), a range (1-5) or a step (*/2)"


def _hint(token: Token) -> str | None:
    """Return what to write instead of something that other schedulers know and this one does not."""
    return next(
        (hint for kind, pattern, hint in _HINTS if kind in (None, token.kind) and re.fullmatch(pattern, token.text)),
        None,
    )
