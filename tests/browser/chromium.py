"""The Chromium of this machine, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--no-sandbox",  # root cannot have one
    "--disable-dev-shm-usage",  # containers have next to none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOW_TO_GET_ONE: Final = "no Chromium: `apt-get install chromium` (./dev test does it for root), or name one by CHROMIUM"


def find_chromium() -> str | None:
    """Return the path of the browser that `CHROMIUM` names, or that is on PATH; None: there is none."""
    named = os.environ.get("CHROMIUM")
    return next(filter(None, map(shutil.which, (named, *_NAMES) if named else _NAMES)), None)


@asynccontextmanager
async def started(executable: str) -> AsyncGenerator[Browser]:
    """Run a browser for as long as the block lasts."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()
