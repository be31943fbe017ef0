"""What users and jobs write is shown, never run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.browser import evil
from tests.browser.screens import SCREENS

if TYPE_CHECKING:
    from tests.browser.conftest import Desk

LEAST_SCREENS = 5
"""On fewer the test would show nothing."""

_INJECTED = """
() => [...document.querySelectorAll("img[src='x'], svg[onload], [onerror], a[href^='javascript:'], script:not([src])")]
    .map(element => element.outerHTML)
"""


@pytest.mark.parametrize("which", [0, 1], ids=["succeeded", "failed"])
async def test_no_screen_runs_what_somebody_has_written(desk: Desk, which: int) -> None:
    known = desk.shop.known
    evil_ones = replace(known, failed=known.evil[which], schedule=evil.JOB)
    window = await desk.window()
    showing: list[str] = []

    for screen in SCREENS:
        await window.goto(screen.at(evil_ones.parameters))
        assert await window.page.evaluate(_INJECTED) == [], screen
        if evil.TEXT in await window.page.locator("body").inner_text():
            showing.append(screen.name)

    assert len(showing) >= LEAST_SCREENS
