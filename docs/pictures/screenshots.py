"""Takes pictures of every screen of the dashboard: light, dark and on a phone.

`./dev screenshots` serves the sample application on a store of its own, with a week behind it, and writes the pictures
into `screenshots/`, which is not kept in the repository.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from tests.browser import chromium, people, sample_past
from tests.browser.screens import SCREENS
from tests.browser.served import DASHBOARD, served

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.async_api import BrowserContext

FOLDER: Final = Path("screenshots").resolve()


FORMS: Final[Mapping[str, dict[str, Any]]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "reduced_motion": "reduce"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark", "reduced_motion": "reduce"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "reduced_motion": "reduce"},
}


async def main(executable: str) -> None:
    """Serve the sample application with a past, and take the pictures.

    Args:
        executable: The browser.
    """
    async with AsyncExitStack() as stack:
        os.chdir(stack.enter_context(TemporaryDirectory()))
        os.environ |= {
            "MAINSPRING_DATABASE_URL": "sqlite:///store.db",
            "MAINSPRING_SECRET_KEY": "the key of pictures, which nobody needs",
        }
        from mainspring.sample.app import app

        stack.enter_context(redirect_stdout(StringIO()))  # the log lines of jobs
        node = await stack.enter_async_context(app.running())
        known = await sample_past.give_past(app, node.id)
        await people.settle(app)
        dashboard = await stack.enter_async_context(served(app)) + DASHBOARD
        browser = await stack.enter_async_context(chromium.started(executable))
        for name, form in FORMS.items():
            context = await stack.enter_async_context(await browser.new_context(**form))
            await people.sign_in(context, app, people.ADMIN, dashboard)
            await _take(context, name, dashboard, known)


async def _take(context: BrowserContext, form: str, dashboard: str, known: Mapping[str, str]) -> None:
    page = await context.new_page()
    for screen in SCREENS:
        await page.goto(dashboard + screen.at(known), wait_until="networkidle")
        await page.screenshot(path=FOLDER / f"{screen.name}-{form}.png")


if __name__ == "__main__":
    found = chromium.find_chromium()
    if found is None:
        sys.exit(chromium.HOW_TO_GET_ONE)
    asyncio.run(main(found))
    print(f"written: {len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")
