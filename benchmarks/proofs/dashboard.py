"""Claim: with 100,000 executions in the store, no screen of the dashboard costs more than its budget.

`./dev prove dashboard` fills a store, serves the dashboard, and looks at it with Chromium: at each screen as on a first
visit, then at Runs and at every fragment of Overview several times, of which the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from tests.browser import budgets, busy_store, chromium, people, shop, shop_past
from tests.browser.screens import SCREENS
from tests.browser.served import DASHBOARD, served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from playwright.async_api import Browser, BrowserContext, Page

    from mainspring import Mainspring
    from tests.browser.budgets import Budget, Cost

_ROUNDS: Final = 7


class Visitor:
    """An admin who looks at screens, each time with an empty cache.

    Args:
        browser: With which it looks.
        app: The application, whose people it is one of.
        dashboard: Where the dashboard is.
    """

    def __init__(self, browser: Browser, app: Mainspring, dashboard: str) -> None:
        self._browser = browser
        self._app = app
        self._dashboard = dashboard

    async def cost_of(self, path: str) -> Cost:
        """Return what a screen costs."""
        async with self._window(path) as page:
            return await budgets.cost_of(page)

    async def fragments_of(self, path: str) -> dict[str, float]:
        """Return how many milliseconds each fragment of a screen takes when it is asked for again."""
        async with self._window(path) as page:
            return {
                address: median([await page.evaluate(budgets.TIME_OF_FRAGMENT, address) for _ in range(_ROUNDS)])
                for address in await page.evaluate(budgets.FRAGMENTS)
            }

    @asynccontextmanager
    async def _window(self, path: str) -> AsyncGenerator[Page]:
        async with self._context() as context:
            page = await context.new_page()
            await page.goto(self._dashboard + path, wait_until="networkidle")
            yield page

    @asynccontextmanager
    async def _context(self) -> AsyncGenerator[BrowserContext]:
        async with await self._browser.new_context() as context:
            await people.sign_in(context, self._app, people.ADMIN, self._dashboard)
            yield context


class Verdict:
    """What was measured, and whether it is within the budgets."""

    def __init__(self, title: str) -> None:
        self._table = Table("screen", "what", "at most", "measured", title=title)
        self.is_kept = True

    def hold(self, screen: str, what: str, most: float, measured: float) -> None:
        """Compare one figure with its budget."""
        fits = measured <= most
        self.is_kept = self.is_kept and fits
        self._table.add_row(screen, what, f"{most:,.6g}", f"{measured:,.6g}", style=None if fits else "red")

    def hold_all(self, screen: str, held: Sequence[Budget], costs: Sequence[Cost]) -> None:
        """Compare the median of several visits with budgets."""
        for budget in held:
            self.hold(screen, budget.what, budget.most, median(map(budget.of, costs)))

    def print(self) -> None:
        """Say it."""
        console = Console()
        console.print(self._table)
        console.print("within all budgets" if self.is_kept else "[red]not within all budgets[/red]")


async def prove(executable: str, executions: int) -> bool:
    """Return whether every screen is within its budgets.

    Args:
        executable: The browser.
        executions: How many the store holds.
    """
    verdict = Verdict(f"{executions:,} executions on SQLite")
    async with AsyncExitStack() as stack:
        stack.enter_context(redirect_stdout(StringIO()))  # the log lines of jobs
        gate = asyncio.Event()
        app = shop.make_shop(Path(stack.enter_context(TemporaryDirectory())), gate)
        node = await stack.enter_async_context(app.running(roles=("api", "worker", "monitor")))
        stack.callback(gate.set)
        await people.settle(app)
        known = await shop_past.give_past(app, node.id)
        await busy_store.fill(app, node.id, executions)
        origin = await stack.enter_async_context(served(app))
        browser = await stack.enter_async_context(chromium.started(executable))
        visitor = Visitor(browser, app, origin + DASHBOARD)
        for screen in SCREENS:
            verdict.hold_all(screen.name, budgets.EVERY_PAGE, [await visitor.cost_of(screen.at(known.parameters))])
        verdict.hold_all("runs", budgets.RUNS, [await visitor.cost_of("/runs") for _ in range(_ROUNDS)])
        for fragment, took in (await visitor.fragments_of("/")).items():
            verdict.hold(fragment, "fragment, ms", budgets.FRAGMENT_MS, took)
    verdict.print()
    return verdict.is_kept


def main() -> int:
    """Prove it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=100_000, help="how many the store holds")
    arguments = parser.parse_args()
    executable = chromium.find_chromium()
    if executable is None:
        sys.exit(chromium.HOW_TO_GET_ONE)
    return 0 if asyncio.run(prove(executable, arguments.executions)) else 1


if __name__ == "__main__":
    sys.exit(main())
