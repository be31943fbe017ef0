"""Rows of plain values as CSV, all at once: in JSON they are nearly that, and orjson writes it in C.

A row of numbers, days and plain text is the same in both, but for brackets and quotation marks. Whether that is so is
seen from the whole text of some thousand rows; where it is not, their columns are written as ever.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from mainspring.reports.formulas import harmless_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# At the beginning of a text: = + - @, and their full-width forms in UTF-8. Control characters are escaped in JSON.
_POSSIBLE_FORMULA: Final = re.compile(rb'"((?:[=+@-]|\xef\xbc[\x9d\x8b\x8d\xa0])[^"]*)')


def plain_csv(rows: Sequence[Iterable[Any]]) -> bytes | None:
    r"""Return the lines of rows, each of the same two or more values; None: a value of them is not plain.

    Example:
        >>> plain_csv([(1, "Ada"), (2, None)])
        b'1,Ada\r\n2,\r\n'
        >>> plain_csv([(1, "Lovelace, Ada")]) is None
        True
    """
    tuples = list(map(tuple, rows))  # a driver may have rows of a type of its own
    width = len(tuples[0])
    if width == 1:  # a line of nothing would be no row
        return None
    try:
        text = orjson.dumps(tuples, _decimal_text)
    except TypeError:  # an integer beyond 64 bits, a lone surrogate, bytes
        return None
    # No text holds what separates or quotes fields, and no value is a list or a dict.
    is_plain = (
        b"\\" not in text
        and b"{" not in text
        and text.count(b"[") == len(tuples) + 1
        and text.count(b",") == len(tuples) * width - 1
    )
    if not is_plain:
        return None
    if b"null" in text:
        if text.count(b",null") + text.count(b"[null") != sum(row.count(None) for row in tuples):
            return None  # a number that is none: NaN, infinity
        text = text.replace(b",null", b",").replace(b"[null", b"[")
    text = _POSSIBLE_FORMULA.sub(_harmless, text)
    return text[2:-2].replace(b"],[", b"\r\n").translate(None, b'"') + b"\r\n"


def _decimal_text(value: object) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    raise TypeError


def _harmless(match: re.Match[bytes]) -> bytes:
    return b'"' + harmless_text(match[1].decode()).encode()
