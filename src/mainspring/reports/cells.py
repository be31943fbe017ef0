"""What a cell of an export may hold: the values that every format can write."""

from __future__ import annotations

import sys
from datetime import date, datetime, time
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mainspring.domain.write_door import to_jsonable, verbatim_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Cell: TypeAlias = bool | int | float | Decimal | str | date | time | list[Any] | dict[str, Any] | None
"""Text is valid UTF-8 without NUL; lists and dicts are JSON. A `datetime` is a `date` here, as in Python."""

_AS_IS: Final = frozenset({NoneType, bool, int, float, Decimal, date, datetime, time})


def to_cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[Cell]:
    r"""Return the cells of a row that a report yielded, one for each column; what the row lacks is None.

    Numbers, days and instants keep their type, so that each format can write them as its own; bytes become
    hexadecimal digits; anything else becomes JSON.

    Example:
        >>> to_cells({"price": Decimal("9.90"), "seal": b"\xff"}, ["seal", "price", "note"])
        ['ff', Decimal('9.90'), None]
    """
    # What most cells hold is told apart here: a call for each would double the time of this step.
    return [
        value
        if type(value) in _AS_IS or (type(value) is str and value.isascii() and "\x00" not in value)
        else _to_cell(value)
        for value in map(row.get, columns)
    ]


def _to_cell(value: object) -> Cell:
    if isinstance(value, str):
        return verbatim_text(value, sys.maxsize)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return to_jsonable(value)
