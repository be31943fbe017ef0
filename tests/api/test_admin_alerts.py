"""`/admin/alerts`, `/admin/maintenance`, `/admin/notifications`: what is wrong, and what people do about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mainspring.alerts.lifecycle import observe
from mainspring.domain.access import Role
from mainspring.domain.alert import AlertRule, Breach, Severity
from mainspring.domain.route import Route

if TYPE_CHECKING:
    import httpx2

    from tests.api.conftest import Door

UNTIL = "2126-11-22T00:00:00Z"
UNKNOWN = "01890000-0000-7000-8000-000000000001"


async def find(door: Door, *breaches: Breach, recovered: tuple[str, ...] = (), **more: Any) -> None:
    """Let the monitor find something."""
    ways = {"routes": [Route("slack", name="ops")], "public_url": "https://jobs.example/", **more}
    telling = replace(door.services.telling, **ways)
    await door.services.database.tx(
        lambda connection: observe(connection, door.app.settings.environment, breaches, recovered, telling=telling)
    )


def stale(job: str = "nightly", severity: Severity = Severity.WARNING) -> Breach:
    return Breach(AlertRule.STALENESS, job, job, severity, f"{job} is late.", {"graceSeconds": 1800})


@pytest.fixture
async def olga(door: Door) -> httpx2.AsyncClient:
    """An operator of the platform."""
    await door.register_jobs()
    return await door.client(door.token("olga", Role.OPERATOR, None))


async def the_alert(client: httpx2.AsyncClient) -> dict[str, Any]:
    (alert,) = (await client.get("/admin/alerts")).json()["alerts"]
    return alert


async def test_an_alert_is_listed_with_its_figures_and_found_by_each_filter(
    door: Door, olga: httpx2.AsyncClient
) -> None:
    await find(door, stale(), stale("sweep", Severity.CRITICAL))
    body = (await olga.get("/admin/alerts", params={"jobName": "nightly"})).json()
    assert (body["total"], body["page"], body["pageSize"], body["totalPages"]) == (1, 1, 25, 1)
    (alert,) = body["alerts"]
    assert {name: alert[name] for name in ("rule", "severity", "state", "sentence", "occurrences", "figures")} == {
        "rule": "staleness",
        "severity": "warning",
        "state": "open",
        "sentence": "nightly is late.",
        "occurrences": 1,
        "figures": {"graceSeconds": 1800},
    }
    for query, jobs in (
        ({"severity": "critical"}, ["sweep"]),
        ({"rule": "failure_rate"}, []),
        ({"state": "open", "pageSize": "1"}, ["sweep"]),
        ({"state": "resolved"}, []),
        ({"from": UNTIL}, []),
        ({"to": UNTIL, "page": "2", "pageSize": "1"}, ["nightly"]),
    ):
        found = (await olga.get("/admin/alerts", params=query)).json()["alerts"]
        assert [item["jobName"] for item in found] == jobs, query
    assert (await olga.get(f"/admin/alerts/{alert['id']}")).json() == alert


async def test_what_people_do_is_done_once_audited_and_told(door: Door, olga: httpx2.AsyncClient) -> None:
    await find(door, stale())
    alert_id = (await the_alert(olga))["id"]
    mine = await olga.post(f"/admin/alerts/{alert_id}/acknowledge", json={"reason": "on it"})
    assert (mine.json()["state"], mine.json()["acknowledgedBy"]) == ("acknowledged", "olga")
    other = await door.client(door.token("otto", Role.OPERATOR, None))
    assert (await other.post(f"/admin/alerts/{alert_id}/acknowledge")).json()["acknowledgedBy"] == "olga"
    snoozed = await olga.post(f"/admin/alerts/{alert_id}/snooze", json={"until": UNTIL})
    assert (snoozed.json()["state"], snoozed.json()["snoozedUntil"]) == ("snoozed", "2126-11-22T00:00:00.000Z")
    over = await olga.post(f"/admin/alerts/{alert_id}/resolve", json={"reason": "mended"})
    assert (over.json()["state"], over.json()["resolvedBy"]) == ("resolved", "olga")
    again = await olga.post(f"/admin/alerts/{alert_id}/resolve")
    assert (again.status_code, again.json()["code"]) == (409, "ALERT_RESOLVED")

    actions = [(entry.action, entry.reason) for entry in await door.audit(alert_id)]
    assert actions == [
        ("alert.resolve", "mended"),
        ("alert.snooze", None),
        ("alert.acknowledge", None),
        ("alert.acknowledge", "on it"),
    ]


async def test_what_somebody_did_last_is_taken_back(door: Door, olga: httpx2.AsyncClient) -> None:
    await find(door, stale())
    address = f"/admin/alerts/{(await the_alert(olga))['id']}"
    await olga.post(f"{address}/acknowledge")
    await olga.post(f"{address}/snooze", json={"until": UNTIL})
    await olga.post(f"{address}/resolve")
    for state in ("acknowledged", "open"):  # the resolution has ended the snooze
        answer = await olga.post(f"{address}/undo", json={"reason": "it was the other one"})
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert (answer.json()["acknowledgedBy"], answer.json()["resolvedBy"]) == (None, None)
    nothing = await olga.post(f"{address}/undo")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "NOTHING_TO_UNDO")
    trail = await door.audit(address.rpartition("/")[2])
    assert [entry.reason for entry in trail if entry.action == "alert.undo"] == ["it was the other one"] * 2


@pytest.mark.parametrize("came_back", [False, True])
async def test_an_end_that_nobody_declared_or_that_is_outdated_is_not_taken_back(
    door: Door, olga: httpx2.AsyncClient, *, came_back: bool
) -> None:
    await find(door, stale())
    address = f"/admin/alerts/{(await the_alert(olga))['id']}"
    if came_back:
        await olga.post(f"{address}/resolve")
        await find(door, stale(), cooldown=timedelta(0))
    else:
        await find(door, recovered=("staleness:nightly",))
    answer = await olga.post(f"{address}/undo")
    assert (answer.status_code, answer.json()["code"]) == (409, "NOTHING_TO_UNDO")
    assert ("has come back as" if came_back else "recovered by itself") in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        (f"{UNKNOWN}/undo", None, (404, "ALERT_NOT_FOUND")),
        (f"{UNKNOWN}/acknowledge", None, (404, "ALERT_NOT_FOUND")),
        ("{id}/snooze", {"until": "2020-01-01T00:00:00Z"}, (422, "PAST_INSTANT")),
        ("{id}/snooze", {}, (422, "INVALID_REQUEST")),
        ("{id}/mute", {"until": "2020-01-01T00:00:00Z"}, (422, "PAST_INSTANT")),
    ],
)
async def test_what_cannot_be_done_says_why(
    door: Door, olga: httpx2.AsyncClient, path: str, body: Any, refusal: tuple[int, str]
) -> None:
    await find(door, stale())
    address = "/admin/alerts/" + path.replace("{id}", (await the_alert(olga))["id"])
    answer = await olga.post(address, json=body)
    assert (answer.status_code, answer.json()["code"]) == refusal


async def test_a_mute_is_listed_and_ends(door: Door, olga: httpx2.AsyncClient) -> None:
    await find(door, stale())
    alert_id = (await the_alert(olga))["id"]
    mute = (await olga.post(f"/admin/alerts/{alert_id}/mute", json={"reason": "known"})).json()["muteId"]
    (listed,) = (await olga.get("/admin/maintenance", params={"kind": "mute"})).json()["windows"]
    assert (listed["id"], listed["target"], listed["reason"]) == (mute, "staleness:nightly", "known")
    assert (await olga.get("/admin/maintenance")).json()["windows"] == []
    assert (await olga.post(f"/admin/maintenance/{mute}/end")).json()["closedAt"] is not None
    assert (await olga.post(f"/admin/maintenance/{mute}/end")).status_code == 404


async def test_maintenance_is_planned_holds_back_and_is_ended(door: Door, olga: httpx2.AsyncClient) -> None:
    window = {"covers": "job", "target": "nightly", "endsAt": UNTIL.replace("2126", "2027"), "reason": "disks"}
    planned = await olga.post("/admin/maintenance", json=window | {"endsAt": "2127-11-22T00:00:00Z"})
    assert (planned.status_code, planned.json()["code"]) == (422, "UNFIT_WINDOW")
    planned = await olga.post("/admin/maintenance", json=window)
    assert planned.status_code == 201, planned.text
    await find(door, stale())
    assert (await the_alert(olga))["heldBy"] == "maintenance: disks"
    ended = await olga.post(f"/admin/maintenance/{planned.json()['id']}/end", json={"reason": "done"})
    assert ended.json()["closedAt"] is not None
    await find(door)

    assert (await the_alert(olga))["heldBy"] is None
    (notification,) = (await olga.get("/admin/notifications", params={"status": "suppressed"})).json()["notifications"]
    assert (notification["reason"], notification["event"]) == ("maintenance: disks", "alert.opened")


@pytest.mark.parametrize(
    "body",
    [
        {"covers": "all", "target": "nightly", "endsAt": "2027-01-01T00:00:00Z"},
        {"covers": "job", "endsAt": "2027-01-01T00:00:00Z"},
        {"covers": "all", "startsAt": "2027-01-02T00:00:00Z", "endsAt": "2027-01-01T00:00:00Z"},
    ],
)
async def test_a_window_that_covers_nothing_is_refused(olga: httpx2.AsyncClient, body: dict[str, str]) -> None:
    answer = await olga.post("/admin/maintenance", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "UNFIT_WINDOW")


async def test_notifications_are_listed_by_channel_status_and_job_with_figures(
    door: Door, olga: httpx2.AsyncClient
) -> None:
    await find(door, stale(), stale("sweep"))
    await find(door, replace(stale(), occurrences=7), recovered=("staleness:sweep",))
    alert = (await olga.get("/admin/alerts", params={"jobName": "nightly"})).json()["alerts"][0]
    await olga.post(f"/admin/alerts/{alert['id']}/acknowledge")
    listed = (await olga.get("/admin/notifications", params={"jobName": "nightly", "channel": "slack"})).json()
    assert [(item["event"], item["title"], item["route"], item["alertId"]) for item in listed["notifications"]] == [
        ("alert.opened", "nightly is overdue", "ops", alert["id"])
    ]
    figures = (await olga.get("/admin/notifications/analytics", params={"days": "1"})).json()
    (today,) = figures["days"]
    assert (today["channel"], today["sent"], today["waiting"], today["suppressed"]) == ("slack", 0, 3, 0)
    assert (figures["occurrences"], figures["messages"], figures["activeCooldowns"]) == (9, 3, 1)
    assert figures["deduplicationRatio"] == pytest.approx(2 / 3)
    assert [(item["subject"], item["notifications"]) for item in figures["noisiest"]] == [("sweep", 2), ("nightly", 1)]
    assert 0 <= figures["medianAcknowledgeSeconds"] < 60


async def test_a_route_is_chosen_changed_and_taken_back(door: Door, olga: httpx2.AsyncClient) -> None:
    address = "/admin/notification-routes/mail of ada"
    chosen = {"channel": "email", "destination": "ada@acme.example", "severity": "critical", "owner": "ada"}
    (route,) = (await olga.put(address, json=chosen)).json()["routes"]
    assert {name: route[name] for name in chosen} == chosen
    assert (route["name"], route["enabled"], route["source"]) == ("mail of ada", True, "olga")
    pigeon = await olga.put(address, json={"channel": "pigeon"})
    assert (pigeon.status_code, pigeon.json()["code"]) == (422, "UNFIT_ROUTE")
    assert (await olga.put(address, json={"channel": "slack", "between": "9-18"})).json()["code"] == "UNFIT_ROUTE"
    assert (await olga.post(f"{address}/disable")).json()["code"] == "ROUTE_NOT_FOUND"
    assert (await olga.delete(address)).json() == {"routes": []}
    assert [entry.action for entry in await door.audit("mail of ada")] == ["route.remove", "route.put"]


async def test_the_rules_of_a_job_are_those_of_its_code_and_those_of_everybody(
    door: Door, olga: httpx2.AsyncClient
) -> None:
    @door.app.job("close-books", group="billing", notify=[Route("slack", "#billing", severity=Severity.CRITICAL)])
    async def _close() -> None: ...

    await door.register_jobs()
    await olga.put("/admin/notification-routes/mail", json={"channel": "email", "groups": ["mail"]})
    await olga.put("/admin/notification-routes/books", json={"channel": "email", "jobs": ["close-*"]})
    rules = (await olga.get("/admin/notification-routes/jobs/close-books")).json()
    assert [(route["name"], route["channel"], route["source"]) for route in rules["routes"]] == [
        ("books", "email", "all jobs"),
        ("close-books-1", "slack", "job"),
    ]
    assert (await olga.get("/admin/notification-routes/jobs/nothing")).status_code == 404
    await find(door, stale("close-books", Severity.CRITICAL))

    told = (await olga.get("/admin/notifications", params={"jobName": "close-books"})).json()["notifications"]
    assert {(item["channel"], item["destination"]) for item in told} == {
        ("slack", "default"),
        ("slack", "#billing"),
        ("email", "default"),
    }
