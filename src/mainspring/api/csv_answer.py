"""Reports as CSV: one line an object, in the order of their fields, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from fastapi import Query
from starlette.responses import Response

from mainspring.reports.formulas import harmless_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Format = Annotated[Literal["json", "csv"], Query(description="`csv` for a spreadsheet.")]


def csv_response(name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Response:
    """Return rows as a CSV file (RFC 4180).

    Args:
        name: Of the file, without its ending.
        rows: What it holds; a value that is an object or a list is written as JSON.
        columns: Its columns.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(value: object) -> object:
    if isinstance(value, str):
        return harmless_text(value)
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value
