"""People choose on a page what they are told themselves, whatever else they may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mainspring.domain.access import Role
from mainspring.domain.alert import Severity
from mainspring.domain.route import Hours
from mainspring.store.alerting import notification_routes
from tests.web.conftest import Page

if TYPE_CHECKING:
    from mainspring.domain.route import Route
    from tests.web.conftest import Site

VERA = "vera@acme.example"


async def chosen(site: Site) -> list[Route]:
    stored = await site.app.opened.database.read(lambda connection: notification_routes.find(connection, "dev"))
    return [item.route for item in stored if item.route is not None]


async def test_who_only_looks_chooses_severity_jobs_and_hours(site: Site) -> None:
    client = await site.client(VERA, Role.VIEWER)
    assert Page((await client.get("/notifications/mine")).text).says("You are told nothing yet.")
    form = {"severity": "critical", "jobs": "billing-*, close", "days": ["mon", "fri"], "between": "09:00-18:00"}
    saved = await client.post("/notifications/mine/email", data=form)
    assert saved.headers["location"].endswith("/ui/notifications/mine?saved=yes")

    (route,) = await chosen(site)
    assert (route.destination, route.severity, route.jobs) == (VERA, Severity.CRITICAL, ("billing-*", "close"))
    assert route.hours == Hours(("mon", "fri"), "09:00-18:00", "UTC")
    page = Page((await client.get(saved.headers["location"].removeprefix("/ui"))).text)
    assert page.says(f"You are told at {VERA}.")
    assert page.all("input", name="jobs")[0].attributes["value"] == "billing-*, close"

    await client.post("/notifications/mine/email/remove")
    assert await chosen(site) == []


@pytest.mark.parametrize("wrong", [{"between": "9-18"}, {"days": []}])
async def test_what_cannot_be_read_is_said_and_not_kept(site: Site, wrong: dict[str, object]) -> None:
    client = await site.client(VERA, Role.VIEWER)
    form = {"severity": "info", "days": ["mon"], **wrong}
    answer = await client.post("/notifications/mine/email", data=form)
    assert answer.status_code == 422
    assert Page(answer.text).all("div", role="alert")
    assert await chosen(site) == []


async def test_a_webhook_keeps_its_address_when_the_rest_is_changed(site: Site) -> None:
    site.app.settings = site.app.settings.model_copy(update={"own_webhook_hosts": ("hooks.chat.example",)})
    client = await site.client(VERA, Role.VIEWER)
    form = {"severity": "info", "days": ["mon"], "url": "https://hooks.chat.example/T0/s3cret"}
    await client.post("/notifications/mine/webhook", data=form)
    await client.post("/notifications/mine/webhook", data=form | {"severity": "critical", "url": ""})

    (route,) = await chosen(site)
    assert (route.destination, route.severity) == (form["url"], Severity.CRITICAL)


async def test_who_has_no_address_learns_what_to_do(site: Site) -> None:
    client = await site.client("vera", Role.VIEWER)
    page = Page((await client.get("/notifications/mine")).text)
    assert page.says("No mail address of yours is known")
    assert page.says("MAINSPRING_OWN_WEBHOOK_HOSTS")


async def test_whoever_belongs_to_an_organization_is_told_of_no_alerts(site: Site) -> None:
    client = await site.client("max@acme.example", Role.ADMIN, "acme")
    form = {"severity": "info", "days": ["mon"]}
    assert (await client.post("/notifications/mine/email", data=form)).status_code in {403, 404}
    assert await chosen(site) == []
