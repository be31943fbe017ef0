"""What people are told themselves: they choose it without the right to change what others are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mainspring.alerts import notifier
from mainspring.domain.access import Role, Scope
from mainspring.store.identity import users
from tests.api.test_admin_alerts import find, stale

if TYPE_CHECKING:
    import httpx2

    from mainspring.store.engine.database import Connection
    from tests.api.conftest import Door

VERA = "vera@acme.example"
MINE = "/admin/notifications/mine"


async def sign_up(door: Door, name: str, role: Role = Role.VIEWER, organization: str | None = None) -> None:
    def insert(connection: Connection) -> None:
        user_id = door.app.world.new_id()
        users.insert(connection, user_id, name, role=role, organization_id=organization, password_hash="none")

    await door.services.database.tx(insert)


@pytest.fixture
async def vera(door: Door) -> httpx2.AsyncClient:
    """Somebody who may look at alerts, and change nothing."""
    door.app.settings = door.app.settings.model_copy(update={"own_webhook_hosts": ("*.chat.example",)})
    await door.register_jobs()
    await sign_up(door, VERA)
    return await door.client(door.token(VERA, Role.VIEWER, None))


async def told_to(door: Door) -> set[tuple[str, str]]:
    routes = await door.services.database.read(
        lambda connection: notifier.routes_in_force(connection, door.app.settings.environment, ())
    )
    return {(route.channel, route.destination) for route in routes}


async def test_somebody_who_only_looks_chooses_what_they_are_told(door: Door, vera: httpx2.AsyncClient) -> None:
    wanted: dict[str, Any] = {
        "severity": "critical",
        "jobs": ["nightly"],
        "between": "09:00-18:00",
        "zone": "Europe/Paris",
    }
    answer = await vera.put(f"{MINE}/email", json=wanted)
    assert answer.status_code == 200, answer.text
    (route,) = answer.json()["routes"]
    assert {name: route[name] for name in wanted} == wanted
    assert (answer.json()["address"], route["destination"], route["owner"]) == (VERA, VERA, VERA)
    assert (await vera.put("/admin/notification-routes/ops", json={"channel": "email"})).status_code == 403
    assert [entry.action for entry in await door.audit(f"email of {VERA}")] == ["route.own.put"]


async def test_what_somebody_chose_tells_them_and_nobody_else(door: Door, vera: httpx2.AsyncClient) -> None:
    await vera.put(f"{MINE}/email", json={"jobs": ["nightly"]})
    await find(door, stale("nightly"), stale("sweep"))
    told = (await vera.get("/admin/notifications", params={"channel": "email"})).json()["notifications"]
    assert [(item["title"], item["destination"]) for item in told] == [("nightly is overdue", VERA)]


async def test_who_may_no_longer_look_is_told_nothing(door: Door, vera: httpx2.AsyncClient) -> None:
    await vera.put(f"{MINE}/email", json={})
    assert await told_to(door) == {("email", VERA)}

    def change(connection: Connection) -> None:
        person = users.get(connection, Scope("dev"), VERA)
        assert person is not None
        users.disable(connection, person.id)

    await door.services.database.tx(change)
    assert await told_to(door) == set()


async def test_a_webhook_leads_only_where_the_operator_allows(door: Door, vera: httpx2.AsyncClient) -> None:
    for url, code in (
        ("https://evil.example/x", "UNFIT_ROUTE"),
        ("https://hooks.chat.example.evil.example/x", "UNFIT_ROUTE"),
        ("http://hooks.chat.example/x", "EGRESS_REFUSED"),
        (None, "UNFIT_ROUTE"),
    ):
        answer = await vera.put(f"{MINE}/webhook", json={"url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, code), url
    assert (await vera.put(f"{MINE}/webhook", json={"url": "https://hooks.chat.example/x"})).status_code == 200
    assert await told_to(door) == {("webhook", "https://hooks.chat.example/x")}


async def test_nobody_chooses_for_others_or_what_is_not_theirs(door: Door, vera: httpx2.AsyncClient) -> None:
    olga = await door.client(door.token("olga", Role.OPERATOR, None))
    for extra in ({"owner": "olga"}, {"destination": "all@acme.example"}, {"after": 60}, {"environments": ["x"]}):
        assert (await vera.put(f"{MINE}/email", json=extra)).status_code == 422, extra
    await olga.put(f"/admin/notification-routes/email of {VERA}", json={"channel": "email", "destination": "ops@x.y"})
    refused = await vera.put(f"{MINE}/email", json={})
    assert (refused.status_code, refused.json()["code"]) == (422, "UNFIT_ROUTE")
    assert (await vera.delete(f"{MINE}/email")).status_code == 404
    assert await told_to(door) == {("email", "ops@x.y")}


async def test_what_was_chosen_is_taken_back(door: Door, vera: httpx2.AsyncClient) -> None:
    await vera.put(f"{MINE}/email", json={})
    assert (await vera.delete(f"{MINE}/email")).json()["routes"] == []
    assert (await vera.delete(f"{MINE}/email")).status_code == 404
    assert [entry.action for entry in await door.audit(f"email of {VERA}")] == ["route.own.remove", "route.own.put"]


async def test_a_member_of_an_organization_has_no_alerts_to_be_told(door: Door) -> None:
    await sign_up(door, "max@acme.example", Role.ADMIN, "acme")
    member = await door.client(door.token("max@acme.example", Role.ADMIN, "acme"))
    assert (await member.put(f"{MINE}/email", json={})).status_code == 403
