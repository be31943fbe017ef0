"""A page of the browser, and everything about it that must never happen."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import ConsoleMessage, Dialog, Page, Request, Response

_AXE: Final = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_RULES: Final = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
_SIDEWAYS: Final = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass  # without slots: Playwright keeps what it makes of a handler on the handler's object
class WatchedPage:
    """A page that remembers what went wrong on it.

    Attributes:
        page: Playwright's.
        origin: The only place that it may ask for anything.
        mount: Below which path of it the dashboard is.
        faults: Errors of the console, violations of the policy among them; exceptions of scripts; dialogs of the
            browser; answers of 400 and above; requests to another place.
        requests: Addresses of everything that it asked for.
    """

    page: Page
    origin: str
    mount: str
    faults: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("request", self._asks)
        self.page.on("response", self._answered)
        self.page.on("dialog", self._opened)

    async def goto(self, path: str) -> Response:
        """Open a page, and wait until it stands."""
        answer = await self.page.goto(self.origin + self.mount + path, wait_until="load")
        assert answer is not None
        return answer

    async def prefer(self, theme: Literal["light", "dark"]) -> None:
        """Let the person's system prefer a theme from now on."""
        await self.page.emulate_media(color_scheme=theme)
        await expect(self.page.locator("html")).to_have_attribute("data-bs-theme", theme)

    async def violations(self) -> list[str]:
        """Return what axe finds in what is shown now, against WCAG 2.2 AA and its own list of best practices."""
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate(_AXE)
        found = await self.page.evaluate("rules => axe.run(document, rules)", _RULES)
        return [_as_sentence(violation) for violation in found["violations"]]

    async def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return await self.page.evaluate(_SIDEWAYS)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text}")

    def _asks(self, request: Request) -> None:
        self.requests.append(request.url)
        address = urlsplit(request.url)
        if address.scheme != "data" and f"{address.scheme}://{address.netloc}" != self.origin:
            self.faults.append(f"asks another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.url}")

    async def _opened(self, dialog: Dialog) -> None:
        self.faults.append(f"{dialog.type} of the browser: {dialog.message}")
        await dialog.dismiss()


def _as_sentence(violation: dict[str, Any]) -> str:
    nodes = [f"{node['target']}: {node['html'][:120]} {node.get('failureSummary')}" for node in violation["nodes"][:5]]
    return f"{violation['id']}: {violation['help']}\n    " + "\n    ".join(nodes)
