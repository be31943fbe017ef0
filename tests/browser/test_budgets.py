"""No screen costs more than its budget; `./dev prove dashboard` holds the times, on a store with 100,000 executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import budgets

if TYPE_CHECKING:
    from tests.browser.budgets import Budget
    from tests.browser.conftest import Desk

BUSY_MACHINE = 10
"""By how much a time may be longer here, beside other tests."""


def _excess(held: tuple[Budget, ...], cost: budgets.Cost) -> dict[str, float]:
    return {
        budget.what: budget.of(cost)
        for budget in held
        if budget.of(cost) > budget.most * (BUSY_MACHINE if budget.is_time else 1)
    }


@pytest.mark.parametrize("path", ["/", "/queues"])
async def test_a_first_visit_costs_no_more_than_its_budget(desk: Desk, path: str) -> None:
    window = await desk.open(path)

    assert _excess(budgets.EVERY_PAGE, await budgets.cost_of(window.page)) == {}


async def test_a_fragment_of_the_overview_comes_in_time(desk: Desk) -> None:
    page = (await desk.open("/")).page

    took = {
        address: await page.evaluate(budgets.TIME_OF_FRAGMENT, address)
        for address in await page.evaluate(budgets.FRAGMENTS)
    }

    assert took
    assert {address for address, time in took.items() if time > budgets.FRAGMENT_MS * BUSY_MACHINE} == set()
