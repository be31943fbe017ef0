"""The rule that payloads hold no amounts of money."""

from __future__ import annotations

from typing import Any

import pytest

from mainspring.domain.money import MonetaryValueError, refuse_money


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"amount": 12}, "payload.amount"),
        ({"totalAmount": 12.5}, "payload.totalAmount"),
        ({"unit_price": 0}, "payload.unit_price"),
        ({"shipping-cost": 3}, "payload.shipping-cost"),
        ({"TRANSFER_FEE": 3}, "payload.TRANSFER_FEE"),
        ({"HTTPCost": 3}, "payload.HTTPCost"),
        ({"filters": {"salary": 3}}, "payload.filters.salary"),
        ({"lines": [{"id": 1}, {"balance": -1}]}, "payload.lines.1.balance"),
        ({"price": [1, 2]}, "payload.price.0"),
        ({"amount": {"value": 12, "currency": "x"}}, "payload.amount.value"),
        ({"note": "12.50 EUR"}, "payload.note"),
        ({"note": "EUR 12"}, "payload.note"),
        ({"note": "JPY12"}, "payload.note"),
        ({"note": "the invoice of $500 is due"}, "payload.note"),
        ({"note": "5\xa0€"}, "payload.note"),
        ({"note": "\u20b9 700"}, "payload.note"),
        ({"note": "EUR -5"}, "payload.note"),
        ({"note": "\u0661\u0662 €"}, "payload.note"),
        ({"tags": ["a", "USD 3"]}, "payload.tags.1"),
        ({"note": "5 TRY"}, "payload.note"),
    ],
)
def test_an_amount_of_money_is_refused_and_its_path_is_named(payload: dict[str, Any], path: str) -> None:
    with pytest.raises(MonetaryValueError, match="holds an amount of money") as caught:
        refuse_money(payload)
    assert str(caught.value).startswith(f"{path} holds")


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"reportType": "quotes", "format": "csv", "filters": {"dateFrom": "2024-01-01", "limit": 5}},
        {"amountOfRows": 3, "costCenter": 7, "feedback": 1, "coffee": 2, "surprice": 3, "priceId": 9},
        {"price": "unknown", "cost": None, "fee": True},
        {"note": "TOP 10 reports, ALL 3 of them, TRY 2 more"},
        {"note": "$HOME/file USD-2024 report_EUR_2024.csv AUSD 12 EUROPE 5"},
        {"note": "EUR and USD"},
    ],
)
def test_what_is_no_amount_of_money_passes(payload: object) -> None:
    refuse_money(payload)


@pytest.mark.parametrize("allowed", ["price", "filters.price", "filters"])
def test_a_field_that_the_author_allows_may_hold_amounts(allowed: str) -> None:
    refuse_money({"filters": {"price": 3}}, allowed=[allowed])


def test_another_field_than_the_allowed_one_is_still_refused() -> None:
    with pytest.raises(MonetaryValueError, match=r"payload\.filters\.fee"):
        refuse_money({"filters": {"price": 3, "fee": 1}}, allowed=["price"])


def test_an_error_never_repeats_the_amount() -> None:
    with pytest.raises(MonetaryValueError) as caught:
        refuse_money({"salary": 987654})
    assert "987654" not in str(caught.value)
