"""Pages follow what happens, without taking anything from under the hands of those who use them, or from the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from playwright.async_api import expect

from mainspring.store.tables import execution_logs

if TYPE_CHECKING:
    from uuid import UUID

    from playwright.async_api import Locator, Page

    from tests.browser.conftest import Desk

_HIDE = """
hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}
"""


_NO_EVENTS: Final = """
window.EventSource = class {
    constructor() { setTimeout(() => this.onerror()); }
    close() {}
};
"""
_A_SECOND_MS: Final = 1_000
_MOST_LINES: Final = 2_000
_REPEAT_FIRST_LINE: Final = """
most => {
    const log = document.querySelector("#run-log");
    while (log.childElementCount < most) log.prepend(log.firstElementChild.cloneNode(true));
}
"""


async def _is_live(page: Page) -> None:
    await expect(page.get_by_role("button", name="Live")).to_have_attribute("data-state", "live")


def _link(page: Page, run_id: UUID) -> Locator:
    """Return the link to one of the latest runs."""
    rows = page.get_by_role("region", name="Latest runs").get_by_role("link")
    return rows.and_(page.locator(f"[href$='{run_id}']"))


async def test_focus_stays_where_it_is_while_a_page_changes(desk: Desk) -> None:
    held = await desk.shop.app.enqueue("partner-report")
    page = (await desk.open()).page
    await _is_live(page)
    link = _link(page, held.id)
    await link.focus()

    newer = await desk.shop.app.enqueue("partner-report")
    await expect(_link(page, newer.id)).to_be_visible()

    await expect(link).to_be_focused()


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


async def test_where_a_proxy_lets_no_socket_through_a_page_is_told_by_events(desk: Desk) -> None:
    window = await desk.window()
    page = window.page
    await page.route_web_socket("**/live", lambda socket: socket.close())
    await page.clock.install()
    await window.goto("/")
    while not any("/live/events" in address for address in window.requests):
        await page.clock.fast_forward(_A_SECOND_MS)
    await _is_live(page)

    run = await desk.shop.app.enqueue("partner-report")

    await expect(_link(page, run.id)).to_be_visible()


async def test_where_nothing_is_told_a_page_asks_again_by_itself(desk: Desk) -> None:
    window = await desk.window()
    page = window.page
    await page.route_web_socket("**/live", lambda socket: socket.close())
    await page.add_init_script(_NO_EVENTS)
    await page.clock.install()
    await window.goto("/")
    while await page.locator("#live").get_attribute("data-state") != "polling":
        await page.clock.fast_forward(_A_SECOND_MS)

    run = await desk.shop.app.enqueue("partner-report")
    await page.clock.fast_forward(10 * _A_SECOND_MS)

    await expect(_link(page, run.id)).to_be_visible()


async def test_lines_come_to_the_end_of_a_log_as_they_are_said_unless_it_is_paused(desk: Desk) -> None:
    run_id = desk.shop.known.running
    window = await desk.open(f"/runs/{run_id}")
    page = window.page
    await _is_live(page)
    log = page.get_by_role("group", name="Logs")
    await expect(log).to_contain_text("page read")

    seen = len(window.requests)
    await _say(desk, "the first product")
    await expect(log).to_contain_text("the first product")
    assert f"{run_id}/logs?" not in "".join(window.requests[seen:]), "what is there is not asked for again"

    await page.get_by_role("checkbox", name="Pause").check()
    async with page.expect_response(lambda answer: answer.url.endswith("/part/head")):
        await _say(desk, "the second product")
    await expect(log).not_to_contain_text("the second product")
    await page.get_by_role("checkbox", name="Pause").uncheck()
    await expect(log).to_contain_text("the second product")
    assert (await log.inner_text()).count("product") == 2


async def test_a_page_that_has_been_open_for_long_forgets_the_oldest_lines_of_a_log(desk: Desk) -> None:
    page = (await desk.open(f"/runs/{desk.shop.known.running}")).page
    await _is_live(page)
    lines = page.locator("#run-log > [data-line]")
    await expect(lines.first).to_be_attached()
    await page.evaluate(_REPEAT_FIRST_LINE, _MOST_LINES)
    earlier = page.get_by_role("button", name="Earlier lines")
    await expect(earlier).to_be_hidden()

    await _say(desk, "one line more")

    await expect(page.get_by_role("group", name="Logs")).to_contain_text("one line more")
    await expect(lines).to_have_count(_MOST_LINES)
    await expect(earlier).to_be_visible()

    async with page.expect_response(lambda answer: "/logs?" in answer.url):
        await page.get_by_role("button", name="First lines").press("Enter")
    await expect(page.get_by_role("group", name="Logs")).to_be_focused()


async def test_alerts_that_nobody_has_taken_are_counted_in_the_title_and_critical_ones_in_the_icon(desk: Desk) -> None:
    page = (await desk.open("/settings")).page
    icon = page.locator("link[rel=icon]")
    counted = '<span id="open-alerts" data-count="12" data-critical="3"></span>'
    await page.route("**/open-alerts", lambda route: route.fulfill(body=counted, content_type="text/html"))

    await page.evaluate("document.body.dispatchEvent(new Event('ms:alerts'))")

    await expect(page).to_have_title("(9+) Settings · mainspring")
    await expect(icon).to_have_attribute("href", re.compile("^data:image/svg.*%3E3%3C"))


async def _say(desk: Desk, message: str) -> None:
    """Let the run that is under way say something."""
    run_id, now = desk.shop.known.running, desk.shop.app.world.now()
    line = {"execution_id": run_id, "attempt": 1, "at": now, "level": "info", "message": message}
    database = desk.shop.app.opened.database
    await database.tx(lambda connection: connection.execute(sa.insert(execution_logs).values(line)))
