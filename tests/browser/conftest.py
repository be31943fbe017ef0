"""The dashboard in a real browser: one server and one browser for all tests, a window of its own for each."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict, Unpack

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser import people, shop, shop_past
from tests.browser.chromium import HOW_TO_GET_ONE, find_chromium, started
from tests.browser.served import DASHBOARD, served
from tests.browser.watched_page import WatchedPage
from tests.not_run import not_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from mainspring import Mainspring
    from tests.browser.screens import Screen

_HERE: Final = Path(__file__).parent
_CHROMIUM: Final = find_chromium()
_PATIENCE_MS: Final = 15_000
"""Beside other tests, on two busy cores."""
_LONGEST: Final = "test_admin_walks.py"


expect.set_options(timeout=_PATIENCE_MS)


@pytest.hookimpl(trylast=True)  # after the order was shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all of this folder in one event loop, which the server and the browser live in; none without a browser.

    They come last: the shop stays open until the end, and other tests want to be the only application of a process.
    The longest of them come first, or one worker of pytest-xdist would be busy with them when the others have ended.
    """
    items.sort(key=lambda item: (_is_of_this_folder(item), item.path.name != _LONGEST))
    for item in filter(_is_of_this_folder, items):
        if "desk" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if _CHROMIUM is None:
                item.add_marker(not_run(HOW_TO_GET_ONE))


def _is_of_this_folder(item: pytest.Item) -> bool:
    return _HERE in item.path.parents


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    assert _CHROMIUM is not None
    async with started(_CHROMIUM) as browser:
        yield browser


@dataclass(frozen=True, slots=True)
class OpenShop:
    """The shop, served.

    Attributes:
        app: The application.
        origin: Where it answers.
        known: What tests know of its past.
    """

    app: Mainspring
    origin: str
    known: shop_past.Known


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenShop]:
    """The shop with its past, its people and a node that does not fire schedules: nothing happens that no test does."""
    gate = asyncio.Event()
    app = shop.make_shop(tmp_path_factory.mktemp("shop"), gate)
    async with app.running(roles=("api", "worker", "monitor")) as node:
        await people.settle(app)
        known = await shop_past.give_past(app, node.id)
        async with served(app) as origin:
            yield OpenShop(app, origin, known)
        gate.set()


class WindowOptions(TypedDict, total=False):
    """The options of `Desk.window`."""

    person: str | None
    mount: str
    theme: Literal["light", "dark"]
    width: int


@dataclass(slots=True)
class Desk:
    """Where windows are opened.

    Attributes:
        shop: What is looked at.
        windows: Those that are open.
    """

    shop: OpenShop
    browser: Browser
    stack: AsyncExitStack
    windows: list[WatchedPage] = field(default_factory=list[WatchedPage])

    async def open(self, path: str = "/", **options: Unpack[WindowOptions]) -> WatchedPage:
        """Open a page of the dashboard, by its path below the mount, in a window of its own."""
        window = await self.window(**options)
        await window.goto(path)
        return window

    async def window(
        self,
        *,
        person: str | None = people.ADMIN,
        mount: str = DASHBOARD,
        theme: Literal["light", "dark"] = "light",
        width: int = 1280,
    ) -> WatchedPage:
        """Open an empty window.

        Args:
            person: Who has signed in; None: nobody.
            mount: Below which path of the server the dashboard is.
            theme: What the person's system prefers.
            width: In pixels.
        """
        context = await self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
        )
        await self.stack.enter_async_context(context)
        context.set_default_timeout(_PATIENCE_MS)
        if person is not None:
            await people.sign_in(context, self.shop.app, person, self.shop.origin + mount)
        window = WatchedPage(await context.new_page(), self.shop.origin, mount)
        self.windows.append(window)
        return window

    async def look_at(self, screen: Screen) -> WatchedPage:
        """Open a screen, for those whom it is for."""
        path = screen.at(self.shop.known.parameters)
        return await self.open(path, person=None if screen.is_for_strangers else people.ADMIN)


@pytest_asyncio.fixture(loop_scope="session")
async def desk(open_shop: OpenShop, browser: Browser) -> AsyncIterator[Desk]:
    """Windows, on none of which anything may go wrong."""
    async with AsyncExitStack() as stack:
        desk = Desk(open_shop, browser, stack)
        yield desk
        faults = [fault for window in desk.windows for fault in window.faults]
    assert faults == []
