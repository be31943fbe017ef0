"""The report `quotes`: 1,250 quotes of an imaginary shop over the year 2024, always the same ones."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from mainspring.reports.source import Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUOTES: Final = 1_250
_FIRST_DAY: Final = date(2024, 1, 1)
_DAYS: Final = 366
_CUSTOMERS: Final = ("Acme", "Borealis", "Cobalt & Sons", "Delta Freight", "Elm Street Bakery", "Fjord Marine", "Gable")
_PRODUCTS: Final = (
    ("Desk lamp", Decimal("39.90")),
    ("Office chair", Decimal("249.00")),
    ("Standing desk", Decimal("612.50")),
    ("Whiteboard", Decimal("87.25")),
    ("Filing cabinet", Decimal("178.40")),
)
_STATUSES: Final = ("draft", "sent", "accepted", "declined")


def quotes_report() -> Report:
    """Return the report `quotes`, whose rows are computed, not stored."""
    return Report("quotes", _rows, filters=("dateFrom", "dateTo"))


async def _rows(filters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    first, last = filters.get("dateFrom", "0001-01-01"), filters.get("dateTo", "9999-12-31")
    for number in range(QUOTES):
        row = _quote(number)
        if first <= row["date"] <= last:
            yield row


def _quote(number: int) -> dict[str, Any]:
    """Return a quote, counted from 0. Prices are decimal text, which no program rounds; the days are spread evenly."""
    product, unit_price = _PRODUCTS[number * 3 % len(_PRODUCTS)]
    quantity = 1 + number * 7 % 12
    return {
        "number": f"Q-2024-{number + 1:04}",
        "date": (_FIRST_DAY + timedelta(days=number * _DAYS // QUOTES)).isoformat(),
        "customer": _CUSTOMERS[number * 5 % len(_CUSTOMERS)],
        "product": product,
        "quantity": quantity,
        "unitPrice": str(unit_price),
        "total": str(unit_price * quantity),
        "currency": "EUR",
        "status": _STATUSES[number * 11 % len(_STATUSES)],
    }
