"""The two walks of admins in the scheduler's document, clicked through, and what two admins do to each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.async_api import expect

from mainspring.domain.access import Actor
from mainspring.store.scheduling import schedules
from tests.browser.people import ADMIN, OTHER_ADMIN

if TYPE_CHECKING:
    from mainspring.store.scheduling.stored_schedule import StoredSchedule
    from tests.browser.conftest import Desk, OpenShop


async def _stored(shop: OpenShop, name: str) -> StoredSchedule:
    environment = shop.app.settings.environment
    found = await shop.app.opened.database.read(lambda connection: schedules.get(connection, environment, name))
    assert found is not None
    return found


async def test_an_admin_tunes_the_schedule_of_a_job(desk: Desk) -> None:
    window = await desk.open()
    page = window.page

    await page.get_by_role("link", name="Schedules").click()
    await page.get_by_role("link", name="Weekly Trending Digest").click()
    await page.get_by_role("button", name="Edit schedule").click()
    dialog = page.get_by_role("dialog")
    expression = dialog.get_by_role("textbox", name="Cron expression")
    await expect(expression).to_have_value("0 9 * * MON")
    await expression.fill("0 10 * * MON")
    await expect(dialog).to_contain_text(re.compile(r"Monday at 10:00"))
    assert await window.violations() == []
    await dialog.get_by_role("textbox", name="Reason").fill("clicks come later")
    await dialog.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("main")).to_contain_text("0 10 * * MON")

    schedule = await _stored(desk.shop, "weekly-trending-digest")
    await desk.shop.app.schedules.reset(Actor.application(desk.shop.app.settings.environment), "weekly-trending-digest")
    assert schedule.text.expression == "0 10 * * MON"
    assert schedule.override is not None
    assert (schedule.override.by, schedule.override.reason) == (ADMIN, "clicks come later")


async def test_an_admin_disables_a_job_in_an_emergency(desk: Desk) -> None:
    window = await desk.open()
    page = window.page

    await page.get_by_role("link", name="Schedules").click()
    switch = page.get_by_role("switch", name="Re-engagement Email: on")
    await expect(switch).to_be_checked()
    await switch.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Re-engagement Email")
    assert await window.violations() == []
    await dialog.get_by_role("textbox", name="Reason").fill("mails twice")
    await dialog.get_by_role("button", name="Disable").click()
    await expect(switch).not_to_be_checked()
    assert not (await _stored(desk.shop, "re-engagement-email")).enabled

    await switch.click()
    await page.get_by_role("dialog").get_by_role("button", name="Enable").click()
    await expect(switch).to_be_checked()
    assert (await _stored(desk.shop, "re-engagement-email")).enabled


async def test_of_two_admins_the_second_hears_of_the_first(desk: Desk) -> None:
    first, second = [await desk.open("/schedules", person=person) for person in (ADMIN, OTHER_ADMIN)]
    for window, cron in ((first, "20 * * * *"), (second, "25 * * * *")):
        await window.page.get_by_role("button", name="Edit schedule of Import Orders").click()
        await window.page.get_by_role("textbox", name="Cron expression").fill(cron)

    await first.page.get_by_role("button", name="Save").click()
    await expect(first.page.get_by_role("dialog")).to_have_count(0)
    await second.page.get_by_role("button", name="Save").click()

    await expect(second.page.get_by_role("dialog").get_by_role("alert")).to_contain_text(ADMIN)
    assert all("409" in fault for fault in second.faults)
    second.faults.clear()
    assert (await _stored(desk.shop, "import-orders")).text.expression == "20 * * * *"
