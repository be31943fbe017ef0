"""Lists and numbers in English."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

_SHORTEST_PROGRESSION: Final = 4
_TEENS: Final = range(11, 14)


def joined(words: Iterable[str], conjunction: str = "and") -> str:
    """Join words as a sentence does.

    Example:
        >>> joined(["Monday", "Tuesday", "Friday"])
        'Monday, Tuesday and Friday'
    """
    *others, last = words
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def ordinal(number: int) -> str:
    """Return a number with its ending.

    Example:
        >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
        ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if number % 100 in _TEENS else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def counted(number: int, unit: str) -> str:
    """Return a number of things.

    Example:
        >>> counted(1, "minute"), counted(5, "minute")
        ('1 minute', '5 minutes')
    """
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def every(number: int, unit: str) -> str:
    """Return the rhythm in words.

    Example:
        >>> every(1, "minute"), every(5, "minute")
        ('Every minute', 'Every 5 minutes')
    """
    return f"Every {unit}" if number == 1 else f"Every {counted(number, unit)}"


def step_of(numbers: Sequence[int]) -> int | None:
    """Return the step between ascending numbers if it is one and the same, and they are four or more.

    Example:
        >>> step_of([1, 3, 5, 7]), step_of([1, 3, 5]), step_of([1, 2, 5, 7])
        (2, None, None)
    """
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    return steps.pop() if len(steps) == 1 and len(numbers) >= _SHORTEST_PROGRESSION else None


def runs(numbers: Iterable[int], cycle: range) -> list[list[int]]:
    """Cut numbers that go round in a cycle into runs of neighbours.

    Example:
        >>> runs([0, 1, 9, 10, 22, 23], range(24))
        [[9, 10], [22, 23, 0, 1]]
    """
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][-1] == number - 1:
            found[-1].append(number)
        else:
            found.append([number])
    if len(found) > 1 and found[0][0] == cycle[0] and found[-1][-1] == cycle[-1]:
        found[-1] += found.pop(0)
    return found


def in_words(duration: timedelta) -> str:
    """Return a duration, roughly.

    Example:
        >>> from datetime import timedelta
        >>> in_words(timedelta(hours=30))
        '1 d 6 h'
    """
    seconds = max(0, round(duration.total_seconds()))
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for index, (unit, size) in enumerate(units):
        if seconds >= size:
            rest = seconds % size // units[index + 1][1] if size > 1 else 0
            return f"{seconds // size} {unit}" + (f" {rest} {units[index + 1][0]}" if rest else "")
    return "now"


def precise(duration: timedelta) -> str:
    """Return a duration, below a minute with what figures need to be told apart.

    Example:
        >>> from datetime import timedelta
        >>> precise(timedelta(milliseconds=350)), precise(timedelta(seconds=2.5)), precise(timedelta(minutes=90))
        ('350 ms', '2.5 s', '1 h 30 min')
    """
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    return f"{seconds:.3g} s" if seconds < 60 else in_words(duration)  # noqa: PLR2004 - a minute
