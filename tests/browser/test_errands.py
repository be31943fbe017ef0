"""What an operator comes for is reached from the first page in at most three activations, by the accessibility tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from playwright.async_api import expect

from mainspring.domain.access import Actor

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.conftest import Desk

MOST_ACTIVATIONS = 3


@dataclass(slots=True)
class Hands:
    """Somebody who knows of a page what its accessibility tree tells, and nothing else.

    Attributes:
        page: What they work on.
        activations: How often they have followed a link or pressed a button.
    """

    page: Page
    activations: int = 0

    async def activate(self, role: Literal["link", "button"], name: str, *, exact: bool = False) -> None:
        """Follow a link, or press a button."""
        await self.page.get_by_role(role, name=name, exact=exact).first.click()
        self.activations += 1

    async def hears(self, words: str) -> None:
        """Find words on the page, as a screen reader would read them."""
        await expect(self.page.get_by_text(words).first).to_be_visible()
        assert words in await self.page.locator("body").aria_snapshot()

    def require_few_activations(self) -> None:
        """Fail where it took too long."""
        assert self.activations <= MOST_ACTIVATIONS


async def test_the_traceback_of_the_last_failure(desk: Desk) -> None:
    hands = Hands((await desk.open()).page)

    await hands.activate("link", "import-orders", exact=True)

    await hands.hears("Traceback (most recent call last)")
    await hands.hears("column 'customer_id' is missing in orders-2026-11-21.csv")
    hands.require_few_activations()


async def test_why_a_job_did_not_run_last_night(desk: Desk) -> None:
    hands = Hands((await desk.open()).page)

    await hands.activate("link", "Schedules")
    await hands.activate("link", "Nightly Cleanup")

    await hands.hears("the run before it had not ended")
    hands.require_few_activations()


async def test_moving_a_job_an_hour_later_with_what_it_will_collide_with(desk: Desk) -> None:
    hands = Hands((await desk.open()).page)

    await hands.activate("link", "Schedules")
    await hands.activate("button", "Edit schedule of Weekly Trending Digest")
    await hands.page.get_by_role("textbox", name="Cron expression").fill("0 10 * * MON")
    await hands.hears("partner-report")
    await hands.activate("button", "Save")
    await expect(hands.page.get_by_role("dialog")).to_be_hidden()
    hands.require_few_activations()
    app = desk.shop.app
    await app.schedules.reset(Actor.application(app.settings.environment), "weekly-trending-digest")


async def test_stopping_everything_now(desk: Desk) -> None:
    hands = Hands((await desk.open()).page)

    await hands.activate("link", "Schedules")
    await hands.activate("button", "Pause all…")
    await hands.page.get_by_role("dialog").get_by_role("textbox", name="Reason").fill("the database is on fire")
    await hands.activate("button", "Pause all", exact=True)

    await hands.hears("All schedules are paused")
    hands.require_few_activations()
    await hands.activate("button", "Resume all")
    await hands.page.get_by_role("dialog").get_by_role("button", name="Resume all").click()
    await expect(hands.page.get_by_text("All schedules are paused since")).to_have_count(0)
