"""Versions of code, as far as they can be put in order: an older build must not undo what a newer one has said."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, TypeAlias

from mainspring.errors import DefinitionError

MAX_CHARACTERS: Final = 100
_NUMBERS: Final = re.compile(r"v?(\d{1,18}(?:\.\d{1,18}){0,9})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[\w.-]+)?")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")

_Numbers: TypeAlias = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]
"""Numbers, whether it is no pre-release, and the identifiers of one: numbers come before words (SemVer 2.0.0, §11)."""


class UnorderedVersionError(DefinitionError):
    """A version of code does not say which code is newer."""

    code = "UNORDERED_VERSION"


def require_ordered(version: str | None) -> None:
    """Return if a version says which code is newer, or if there is none.

    Raises:
        UnorderedVersionError: It does not.
    """
    if version is not None:
        _order_of(version)


def is_older(version: str | None, present: str | None) -> bool:
    """Whether code of one version must leave alone what code of another one has said.

    Versions are numbers with dots and perhaps a pre-release, in the order of Semantic Versioning 2.0.0 (a build after
    `+` does not count), or instants in ISO 8601. Numbers cannot be compared with instants: whoever changes from one to
    the other is believed to be newer.

    Args:
        version: What the code says of itself; None: nothing, which is older than any version.
        present: What the code said of itself whose word is in force; None: nothing.

    Raises:
        UnorderedVersionError: `version` is neither.

    Example:
        >>> is_older("1.9.0", "1.10.0"), is_older("2.0.0-rc.1", "2.0.0"), is_older("2026-11-22T09:00:00Z", "2026-11-21")
        (True, True, False)
    """
    mine = None if version is None else _order_of(version)
    if present is None:
        return False
    if mine is None:
        return True
    theirs = _order_of(present)
    if isinstance(mine, datetime) or isinstance(theirs, datetime):
        return isinstance(mine, datetime) and isinstance(theirs, datetime) and mine < theirs
    return mine < theirs


def _order_of(version: str) -> _Numbers | datetime:
    if len(version) <= MAX_CHARACTERS:
        if _INSTANT.fullmatch(version):
            if (instant := _instant(version)) is not None:
                return instant
        elif match := _NUMBERS.fullmatch(version):
            identifiers = match[2].split(".") if match[2] else []
            return _without_zeros(match[1]), not identifiers, tuple(_identifier(text) for text in identifiers)
    raise UnorderedVersionError(
        f"the version {version[:MAX_CHARACTERS]!r} does not say what is newer: send numbers such as `1.4.2`, the "
        "number of a build, or the instant of a commit such as `2026-11-22T09:00:00Z`; a commit's hash has no order"
    )


def _without_zeros(numbers: str) -> tuple[int, ...]:
    """Return numbers without the zeros at their end, so that 1.4 is 1.4.0."""
    return tuple(int(number) for number in re.sub(r"(\.0+)+$", "", numbers).split("."))


def _identifier(text: str) -> tuple[bool, int, str]:
    return (False, int(text), "") if text.isdecimal() else (True, 0, text)


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
