"""The main ways through the dashboard need no mouse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

_ROW = "() => document.activeElement.matches('[data-row]') ? document.activeElement.textContent : null"

_WHEN_THE_SCRIPTS_HAVE_RUN = """
document.addEventListener("DOMContentLoaded", () => {
    window.isReady = document.querySelector("[data-keys-help]").matches("[data-htmx-powered]");
});
"""


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
    await expect(page).to_have_title(re.compile("Workers · mainspring$"))
    await page.wait_for_load_state("load")  # the letters of a page work once its script has run
    await page.keyboard.press("j")
    first = await page.evaluate(_ROW)
    await page.keyboard.press("j")

    assert None not in {first, second := await page.evaluate(_ROW)}
    assert first != second


async def test_a_dialog_opened_by_a_letter_holds_the_focus_and_gives_it_back(desk: Desk) -> None:
    window = await desk.open("/workers")
    page = window.page
    await page.keyboard.press("j")

    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(dialog).to_be_visible()
    await expect(dialog.locator(":focus")).to_have_count(1)
    assert await window.violations() == []
    await page.keyboard.press("Escape")

    await expect(dialog).to_be_hidden()
    await expect(page.locator("[data-row]:focus")).to_have_count(1)


async def test_what_letters_click_does_something_as_soon_as_they_are_heard(desk: Desk) -> None:
    window = await desk.window()
    await window.page.add_init_script(_WHEN_THE_SCRIPTS_HAVE_RUN)
    await window.goto("/workers")

    assert await window.page.evaluate("() => window.isReady")


async def test_letters_that_are_typed_go_nowhere(desk: Desk) -> None:
    page = (await desk.open("/queues")).page

    await page.keyboard.press("/")
    await page.keyboard.type("gw")

    await expect(page).to_have_title(re.compile("Queues · mainspring$"))
    await expect(page.get_by_role("searchbox")).to_have_value("gw")


async def test_where_a_system_brings_its_own_colours_the_focus_is_seen_and_nothing_moves(desk: Desk) -> None:
    page = (await desk.open()).page
    await page.emulate_media(forced_colors="active")

    await page.get_by_role("button", name="Switch the colours").focus()
    await page.keyboard.press("Tab")

    assert await page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert await page.evaluate("() => document.getAnimations().length") == 0


async def test_a_command_is_found_by_letters_and_asks_before_it_does_anything(desk: Desk) -> None:
    page = (await desk.open("/workers")).page

    await page.keyboard.press("/")
    await page.keyboard.type("pause everything")
    await page.keyboard.press("Enter")  # before what is found has come
    dialog = page.get_by_role("dialog", name="Pause")
    await expect(dialog.locator(":focus")).to_have_count(1)
    await page.keyboard.press("Escape")

    await expect(page.get_by_role("searchbox")).to_be_focused()
