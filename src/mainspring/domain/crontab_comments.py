"""Comments of a crontab: which of them describe the entry below them, and which stand for themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mainspring.domain.cron_fields import CronError, read_expression

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD_OF_COLUMNS: Final = re.compile(r"m\S*\s+h\S*\s+d\S*\s+m\S*\s+[dw]\S*.*", re.IGNORECASE)
_FIVE_WORDS: Final = re.compile(r"(\S+(?:[ \t]+\S+){4})[ \t]+\S.*")
_DRAWN: Final = re.compile(r"[.|*].*|[-=_+~]{2,}.*")
_LONGEST_DESCRIPTION: Final = 500


class CommentBlock:
    """Lines of comment without an empty line between them."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] = []

    def add(self, number: int, line: str) -> None:
        """Take in a line that begins with `#`."""
        self._lines.append((number, line.lstrip("#").strip()))

    def take_description(self) -> str:
        """Return what the last lines say of the entry below them, and keep the rest.

        The head of the columns, an entry that somebody has commented out and a line of `#` alone describe nothing, and
        neither does what stands above them: so begins what `crontab -e` gives to a new user.
        """
        begin = max((place + 1 for place, (_, line) in enumerate(self._lines) if _separates(line)), default=0)
        description = " ".join(line for _, line in self._lines[begin:])
        if len(description) > _LONGEST_DESCRIPTION:
            return ""
        del self._lines[begin:]
        return description

    def take_all(self) -> tuple[int, Sequence[str]] | None:
        """Return what is left and the number of its first line; None: nothing is."""
        lines, self._lines = self._lines, []
        return (lines[0][0], [line for _, line in lines]) if lines else None


def _separates(line: str) -> bool:
    return not line or _is_entry(line) or any(shape.fullmatch(line) for shape in (_HEAD_OF_COLUMNS, _DRAWN))


def _is_entry(line: str) -> bool:
    """Whether a comment is an entry that somebody has taken out of use."""
    if line.startswith("@"):
        return True
    found = _FIVE_WORDS.fullmatch(line)
    if found is None:
        return False
    try:
        read_expression(found[1])
    except CronError:
        return False
    return True
