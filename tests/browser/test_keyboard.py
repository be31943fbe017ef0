"""The main ways through the dashboard need no mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

_ROW = "() => document.activeElement.matches('[data-row]') ? document.activeElement.textContent : null"


async def test_the_first_stop_skips_to_the_content(desk: Desk) -> None:
    page = (await desk.open()).page

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")

    assert await page.evaluate("() => document.querySelector('main').contains(document.activeElement)")


async def test_letters_go_to_pages_and_rows(desk: Desk) -> None:
    page = (await desk.open()).page

    await page.keyboard.press("g")
    await page.keyboard.press("w")
    await expect(page).to_have_title("Workers · mainspring")
    await page.wait_for_load_state("load")  # the letters of a page work once its script has run
    await page.keyboard.press("j")
    first = await (await page.wait_for_function(_ROW)).json_value()
    await page.keyboard.press("j")

    await page.wait_for_function(f"first => ({_ROW})() !== first && ({_ROW})() !== null", arg=first)


async def test_letters_that_are_typed_go_nowhere(desk: Desk) -> None:
    page = (await desk.open("/queues")).page

    await page.keyboard.press("/")
    await page.keyboard.type("gw")

    await expect(page).to_have_title("Queues · mainspring")
    await expect(page.get_by_role("searchbox")).to_have_value("gw")
