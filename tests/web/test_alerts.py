"""Alerts, maintenance and notifications: what people see of them, and what they do about them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mainspring.alerts.lifecycle import observe
from mainspring.alerts.notification_settings import NotificationSettings
from mainspring.domain.access import Role, Scope
from mainspring.domain.alert import Alert, AlertRule, AlertState, Breach, Severity
from mainspring.domain.route import Route
from mainspring.store.alerting import alerts
from tests.audited_things import audit_trail
from tests.web.conftest import Page, take_back

if TYPE_CHECKING:
    from tests.web.conftest import Site

HTMX = {"HX-Request": "true"}
SENTENCE = "digest <b> has not succeeded for 3 hours, and 30 minutes are too many"


async def find(site: Site, *breaches: Breach, recovered: tuple[str, ...] = ()) -> None:
    telling = replace(NotificationSettings.of(site.app.settings, site.app.world), routes=[Route("slack", name="ops")])
    await site.app.opened.database.tx(
        lambda connection: observe(connection, "dev", breaches, recovered, telling=telling)
    )


def stale(job: str = "digest", severity: Severity = Severity.CRITICAL) -> Breach:
    return Breach(AlertRule.STALENESS, job, job, severity, SENTENCE, {})


async def the_alert(site: Site) -> Alert:
    (alert,) = await site.app.opened.database.read(lambda connection: alerts.all_open(connection, "dev"))
    return alert


async def test_an_alert_says_why_with_its_figures_and_leads_to_its_job(site: Site) -> None:
    await find(site, stale())
    page = Page((await (await site.client()).get("/alerts")).text)
    assert page.says(SENTENCE)
    assert page.says("Critical")
    assert {"/ui/schedules/digest", "/ui/notifications"} <= {
        link.attributes["href"].partition("?")[0] for link in page.all("a")
    }


async def test_what_is_resolved_is_shown_on_demand_and_each_filter_narrows(site: Site) -> None:
    await find(site, stale(), stale("sweep", Severity.WARNING))
    await find(site, recovered=("staleness:sweep",))
    client = await site.client()
    for query, jobs in (
        ("", {"digest"}),
        ("?state=any", {"digest", "sweep"}),
        ("?state=resolved", {"sweep"}),
        ("?state=any&severity=warning", {"sweep"}),
        ("?state=any&rule=staleness&job=digest", {"digest"}),
        ("?state=any&rule=too_often", set[str]()),
    ):
        page = Page((await client.get(f"/alerts/table{query}")).text)
        found = {link.text for link in page.all("a") if link.attributes["href"].startswith("/ui/schedules/")}
        assert found == jobs, query


@pytest.mark.parametrize(
    ("verb", "said", "state"),
    [
        ("acknowledge", {}, AlertState.ACKNOWLEDGED),
        ("snooze", {"hours": "2"}, AlertState.SNOOZED),
        ("resolve", {}, AlertState.RESOLVED),
        ("mute", {"hours": ""}, AlertState.OPEN),
    ],
)
async def test_what_people_do_is_asked_for_done_and_audited(
    site: Site, verb: str, said: dict[str, str], state: AlertState
) -> None:
    await find(site, stale())
    alert = await the_alert(site)
    client = await site.client("olga", Role.OPERATOR)
    dialog = Page((await client.get(f"/alerts/{alert.id}/{verb}")).text)
    assert dialog.says(SENTENCE)
    target = dialog.all("form")[0].attributes["hx-post"].removeprefix("/ui")
    answer = await client.post(target, data={"reason": "on it", **said}, headers=HTMX)
    assert "ms:alerts" in answer.headers["HX-Trigger"]
    scope = Scope("dev")
    after = await site.app.opened.database.read(lambda connection: alerts.get(connection, scope, alert.id))
    assert after is not None
    assert after.state is state
    trail = await site.app.opened.database.read(
        lambda connection: audit_trail(connection, scope, target_id=str(alert.id))
    )
    assert [(entry.action, entry.reason) for entry, _mac in trail] == [(f"alert.{verb}", "on it")]
    if verb == "mute":
        assert Page((await client.get("/alerts/silences")).text).says("Mute: the alert staleness:digest")
    await take_back(client, answer)
    assert not Page((await client.get("/alerts/silences")).text).says("Mute: the alert staleness:digest")
    assert (await the_alert(site)).state is AlertState.OPEN


async def test_an_undo_takes_nothing_back_that_somebody_else_did_since(site: Site) -> None:
    await find(site, stale())
    alert = await the_alert(site)
    client = await site.client("olga", Role.OPERATOR)
    mine = await client.post(f"/alerts/{alert.id}/acknowledge", headers=HTMX)
    await client.post(f"/alerts/{alert.id}/snooze", data={"hours": "2"}, headers=HTMX)
    refused = await take_back(client, mine)
    assert refused.status_code == 409
    assert Page(refused.text).says("is snoozed by now")
    assert (await the_alert(site)).state is AlertState.SNOOZED


async def test_maintenance_is_planned_and_ended(site: Site) -> None:
    client = await site.client("olga", Role.OPERATOR)
    planned = await client.post(
        "/alerts/maintenance",
        data={"covers": "job", "target": "digest", "hours": "2", "reason": "new disk"},
        headers=HTMX,
    )
    assert "ms:alerts" in planned.headers["HX-Trigger"]
    page = Page((await client.get("/alerts/silences")).text)
    assert page.says("Maintenance: the job digest")
    assert page.says("new disk")
    (end,) = [button.attributes["hx-get"].removeprefix("/ui") for button in page.all("button")]
    assert "summed up" in (await client.get(end)).text
    await client.post(end, headers=HTMX)
    assert Page((await client.get("/alerts/silences")).text).says("None: everything is told.")


async def test_who_only_looks_is_offered_nothing(site: Site) -> None:
    await find(site, stale())
    client = await site.client("vera", Role.VIEWER)
    page = Page((await client.get("/alerts")).text)
    offered = [button.attributes.get("hx-get", "") for button in page.all("button")]
    assert not [address for address in offered if "/alerts" in address]
    alert = await the_alert(site)
    assert (await client.post(f"/alerts/{alert.id}/resolve", headers=HTMX)).status_code == 403


async def test_notifications_say_what_was_told_and_what_came_of_it(site: Site) -> None:
    await find(site, stale())
    client = await site.client()
    page = Page((await client.get("/notifications")).text)
    assert page.says("Pending")
    assert page.says("slack")
    assert page.says("Noisiest rules")
    assert Page((await client.get("/notifications?status=dead")).text).says("Nothing was told")
    assert Page((await client.get("/notifications?channel=slack&job=digest")).text).says("Pending")


async def test_a_test_message_is_sent_as_any_other_and_its_line_says_what_came_of_it(site: Site) -> None:
    client = await site.client()
    assert {"slack", "email"} <= {
        option.attributes["value"] for option in Page((await client.get("/notifications/test")).text).all("option")
    }
    said = {"channel": "slack", "destination": "#ops"}
    sent = await client.post("/notifications/test", data=said, headers=HTMX)
    assert "by slack" in sent.headers["HX-Trigger"]
    assert "ms:alerts" in sent.headers["HX-Trigger"]
    line = Page((await client.get("/notifications/table")).text)
    assert line.says("Test message")
    assert line.says("slack #ops")
    assert line.says("Pending")
    scope = Scope("dev")
    ((entry, _mac),) = await site.app.opened.database.read(
        lambda connection: audit_trail(connection, scope, target_id="slack")
    )
    assert entry.action == "notification.test"
    assert entry.after == '{"destination":"#ops"}'
    refused = await client.post("/notifications/test", data={"channel": "pigeon"}, headers=HTMX)
    assert refused.status_code == 409
    viewer = await site.client("vera", Role.VIEWER)
    assert (await viewer.post("/notifications/test", data=said, headers=HTMX)).status_code == 403
