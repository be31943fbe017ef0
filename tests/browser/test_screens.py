"""Every screen: for everyone, in both themes, at the root and below a sub-path, and narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.screens import SCREENS, Screen, templates_of_pages, templates_shown
from tests.browser.served import SUB_PATH

if TYPE_CHECKING:
    from playwright.async_api import ViewportSize

    from tests.browser.conftest import Desk

NARROW: ViewportSize = {"width": 320, "height": 640}
"""What is left of 1280 pixels at 400 % zoom (WCAG 1.4.10)."""

_POINTS_ELSEWHERE = """
mount => [...document.querySelectorAll("[href], [src], [action], [hx-get], [hx-post]")]
    .flatMap(element => ["href", "src", "action", "hx-get", "hx-post"].map(name => element.getAttribute(name)))
    .filter(address => address && address.startsWith("/") && !address.startsWith(mount))
"""


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
async def test_a_screen_breaks_no_rule_of_accessibility_and_fits_a_narrow_window(desk: Desk, screen: Screen) -> None:
    window = await desk.look_at(screen)

    for theme in ("light", "dark"):
        await window.prefer(theme)
        assert await window.violations() == []
    await window.page.set_viewport_size(NARROW)
    assert await window.overflow() <= 0
    assert await window.page.get_by_role("heading", level=1).count() == 1
    assert (await window.page.title()).endswith(" · mainspring")


async def test_below_a_sub_path_every_screen_works_and_points_nowhere_else(desk: Desk) -> None:
    window = await desk.window(mount=SUB_PATH)

    for screen in SCREENS:
        answer = await window.goto(screen.at(desk.shop.known.parameters))
        assert answer.ok, screen
        elsewhere = await window.page.evaluate(_POINTS_ELSEWHERE, arg=SUB_PATH)
        assert elsewhere == [], screen
        assert " style=" not in await answer.text()


def test_every_template_of_a_whole_page_is_that_of_a_screen() -> None:
    assert templates_of_pages() <= templates_shown()


async def test_a_long_dialog_scrolls_on_a_phone_and_keeps_its_buttons_in_sight(desk: Desk) -> None:
    page = (await desk.open("/schedules/import-orders")).page
    await page.set_viewport_size(NARROW)
    await page.get_by_role("button", name="Edit schedule").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Worth knowing")
    reason = dialog.get_by_role("textbox", name="Reason")
    await expect(reason).not_to_be_in_viewport()

    await expect(dialog.get_by_role("button", name="Save")).to_be_in_viewport(ratio=1)
    await dialog.get_by_text("Next 6 runs").hover()
    await page.mouse.wheel(0, 5_000)
    await expect(reason).to_be_in_viewport(ratio=1)
