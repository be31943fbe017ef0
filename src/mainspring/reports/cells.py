"""What a cell of an export may hold: the values that every format can write."""

from __future__ import annotations

import sys
from datetime import date, datetime, time
from decimal import Decimal
from types import NoneType
from typing import Any, Final, TypeAlias

from mainspring.domain.write_door import to_jsonable, verbatim_json, verbatim_text

Cell: TypeAlias = bool | int | float | Decimal | str | date | time | list[Any] | dict[str, Any] | None
"""Text is valid UTF-8 without NUL; lists and dicts are JSON. A `datetime` is a `date` here, as in Python."""

_AS_IS: Final = frozenset({NoneType, bool, int, float, Decimal, date, datetime, time})


def to_cell(value: object) -> Cell:
    r"""Return a value that a report yielded as a cell.

    Numbers, days and instants keep their type, so that each format can write them as its own; bytes become
    hexadecimal digits; anything else becomes JSON.

    Example:
        >>> [to_cell(value) for value in (Decimal("9.90"), b"\xff", None)]
        [Decimal('9.90'), 'ff', None]
    """
    if type(value) in _AS_IS:
        return value  # pyright: ignore[reportReturnType] - its type was looked up
    if isinstance(value, str):
        return verbatim_text(value, sys.maxsize)
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return to_jsonable(value)


def cell_text(cell: Cell) -> str:
    """Return the text of a cell that is not None, for formats that know nothing but text there.

    Example:
        >>> [cell_text(cell) for cell in (True, date(2024, 1, 30), {"a": 1}, 7)]
        ['true', '2024-01-30', '{"a":1}', '7']
    """
    match cell:
        case str():
            return cell
        case bool():
            return "true" if cell else "false"
        case date() | time():
            return cell.isoformat()
        case list() | dict():
            return verbatim_json(cell)
        case _:
            return str(cell)
