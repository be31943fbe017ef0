"""Which columns the list of runs has: those that its address names, else those that the visitor has chosen last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

COLUMNS: Final = ("run", "by", "queue", "intended", "started", "waited", "duration", "attempt", "progress")
"""Those that may be left out, in their order; status and job always stand in front of them."""
USUAL: Final = tuple(name for name in COLUMNS if name != "intended")
"""Those that somebody sees who has chosen nothing: when a run was due is next to when it began, save in trouble."""
COLUMNS_COOKIE: Final = "mainspring_run_columns"
_NONE: Final = "none"


def known_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return those columns that there are, in their order, each once.

    Example:
        >>> known_columns(["queue", "colour", "run", "queue"])
        ('run', 'queue')
    """
    said = set(names)
    return tuple(name for name in COLUMNS if name in said)


def read_columns(text: str) -> tuple[str, ...] | None:
    """Return the columns that an address or a cookie names; None: it names none, and says nothing.

    Example:
        >>> read_columns("queue,run"), read_columns("none"), read_columns("")
        (('run', 'queue'), (), None)
    """
    return known_columns(text.split(",")) if text else None


def written_columns(columns: Iterable[str]) -> str:
    """Return how columns are written in an address and in a cookie."""
    return ",".join(columns) or _NONE
