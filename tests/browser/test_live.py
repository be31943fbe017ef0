"""Pages follow what happens, without taking anything from under the hands of those who use them, or from the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.conftest import Desk

_HIDE = """
hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}
"""


async def _is_live(page: Page) -> None:
    await expect(page.get_by_role("button", name="Live")).to_have_attribute("data-state", "live")


async def test_a_hidden_tab_asks_for_nothing_and_catches_up_when_it_is_shown(desk: Desk) -> None:
    window = await desk.open()
    page = window.page
    await _is_live(page)

    await page.evaluate(_HIDE, arg=True)
    seen = len(window.requests)
    for _ in range(3):
        await desk.shop.app.enqueue("partner-report")
    await desk.shop.app.world.sleep(2.5)  # nothing is to be seen of it, and that takes as long as it would have taken
    assert window.requests[seen:] == []

    async with page.expect_response(lambda response: "/overview/" in response.url):
        await page.evaluate(_HIDE, arg=False)
    await _is_live(page)
