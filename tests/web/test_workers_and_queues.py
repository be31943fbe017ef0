"""Workers and queues: what people see of them, and what they may change, with old and new."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from mainspring.domain.access import Role, Scope
from mainspring.store.coordination import cluster, nodes
from mainspring.store.queue import queues
from tests.audited_things import audit_trail
from tests.web.conftest import Page, take_back
from tests.web.runs import ended

if TYPE_CHECKING:
    from mainspring.store.queue.queues import StoredQueue
    from tests.web.conftest import Site

NAME = "web 1 <b>"
HTMX = {"HX-Request": "true"}


async def enter_node(site: Site, name: str = NAME) -> None:
    entry = cluster.NodeEntry(
        id=site.app.world.new_id(),
        environment="dev",
        name=name,
        host="host",
        pid=42,
        roles=("worker",),
        version="1.0",
        slots=8,
        queues=("mail",),
    )
    await site.app.opened.database.tx(lambda connection: cluster.register(connection, entry, lease_seconds=60))


async def drained(site: Site) -> dict[str, bool]:
    found = await site.app.opened.database.read(lambda connection: nodes.find(connection, "dev"))
    return {node.name: node.draining is not None for node in found}


async def queue(site: Site, name: str = "mail") -> StoredQueue:
    found = await site.app.opened.database.read(lambda connection: queues.find(connection, "dev"))
    return next((item for item in found if item.name == name), queues.StoredQueue(name))


async def actions(site: Site, target: str) -> list[str]:
    found = await site.app.opened.database.read(
        lambda connection: audit_trail(connection, Scope("dev"), target_id=target)
    )
    return [f"{entry.action}: {entry.reason}" for entry, _mac in reversed(found)]


async def test_without_a_node_the_page_says_how_to_start_one(site: Site) -> None:
    page = Page((await (await site.client()).get("/workers")).text)
    assert page.says("No worker is running")
    assert page.says("mainspring serve")


async def test_a_node_is_shown_drained_and_resumed(site: Site) -> None:
    await enter_node(site)
    client = await site.client()
    page = Page((await client.get("/workers")).text)
    assert page.says(f"{NAME} host · pid 42, version 1.0")
    assert page.says("0/8")
    [drain] = [
        button.attributes["hx-get"].removeprefix("/ui") for button in page.all("button") if "Drain" in button.text
    ]
    dialog = Page((await client.get(drain)).text)
    assert "claims work" in dialog.everything
    assert "claims nothing" in dialog.everything
    answer = await client.post(
        dialog.all("form")[0].attributes["hx-post"].removeprefix("/ui"), data={"reason": "disk"}, headers=HTMX
    )
    assert "ms:nodes" in answer.headers["HX-Trigger"]
    assert await drained(site) == {NAME: True}
    fragment = await client.get("/workers/nodes")
    assert "disk" in fragment.text
    assert (await client.post(f"{drain.removesuffix('drain')}resume")).status_code < 400
    assert await drained(site) == {NAME: False}
    assert await actions(site, NAME) == ["node.drain: disk", "node.resume: None"]


async def test_a_node_is_shown_with_the_memory_that_it_says_it_holds(site: Site) -> None:
    await enter_node(site, "one")
    client = await site.client()
    assert Page((await client.get("/workers")).text).says("not known")
    database = site.app.opened.database
    [node] = await database.read(lambda connection: nodes.find(connection, "dev"))
    said = cluster.Occupancy(memory_bytes=1_234_000_000)
    await database.tx(lambda connection: cluster.beat(connection, node.id, said, lease_seconds=60, offset_ms=0))
    assert Page((await client.get("/workers")).text).says("1,234 MB")


async def test_who_may_only_look_sees_no_buttons_and_changes_nothing(site: Site) -> None:
    await enter_node(site, "one")
    await ended(site, queue="mail")
    client = await site.client("vera", Role.VIEWER)
    for path in ("/workers", "/queues"):
        page = Page((await client.get(path)).text)
        assert not [button for button in page.all("button") if button.text.startswith(("Drain", "Pause", "Change"))]
    assert (await client.post("/workers/one/drain")).status_code == 403
    assert (await client.post("/queues/mail/pause", data={"version": "1"})).status_code == 403
    assert await drained(site) == {"one": False}
    assert (await queue(site)).pause is None


async def test_a_queue_is_paused_until_a_time_resumed_and_limited(site: Site) -> None:
    client = await site.client("ada", Role.OPERATOR)
    dialog = Page((await client.get("/queues/mail/pause")).text)
    [version] = dialog.all("input", name="version")
    paused = {"version": version.attributes["value"], "minutes": "30", "reason": "provider down"}
    assert (await client.post("/queues/mail/pause", data=paused)).status_code < 400
    pause = (await queue(site)).pause
    assert pause is not None
    assert (pause.by, pause.reason, pause.until is None) == ("ada", "provider down", False)
    page = Page((await client.get("/queues")).text)
    assert page.says("Paused by ada")
    seen = {"version": str((await queue(site)).version)}
    assert (await client.post("/queues/mail/resume", data=seen)).status_code < 400
    seen = {"version": str((await queue(site)).version)}
    answer = await client.post("/queues/mail/limit", data=seen | {"max_running": "4"}, headers=HTMX)
    assert "mail: no limit" in answer.headers["HX-Trigger"]
    assert ((await queue(site)).pause, (await queue(site)).max_running) == (None, 4)
    assert Page((await client.get("/queues")).text).says("0 / 4")
    assert await actions(site, "mail") == ["queue.pause: provider down", "queue.resume: None", "queue.limit: None"]


async def test_what_was_done_to_a_queue_is_taken_back_unless_somebody_has_changed_it_since(site: Site) -> None:
    client = await site.client()
    half_an_hour = {"version": "1", "minutes": "30"}
    paused = await client.post("/queues/mail/pause", data=half_an_hour, headers=HTMX)
    resumed = await take_back(client, paused)
    assert (await queue(site)).pause is None
    await take_back(client, resumed)
    pause = (await queue(site)).pause
    assert pause is not None
    assert pause.until is not None, "it ends when it would have ended"

    version = str((await queue(site)).version)
    limited = await client.post("/queues/mail/limit", data={"version": version, "max_running": "4"}, headers=HTMX)
    assert (await take_back(client, limited)).status_code == 204
    assert (await queue(site)).max_running is None
    assert (await take_back(client, limited)).status_code == 409, "it is not what it was any more"


async def test_a_drained_node_claims_again_when_that_is_taken_back(site: Site) -> None:
    await enter_node(site, NAME)
    client = await site.client()
    drained_now = await client.post(f"/workers/{quote(NAME, safe='')}/drain", headers=HTMX)
    assert await drained(site) == {NAME: True}
    await take_back(client, drained_now)
    assert await drained(site) == {NAME: False}


async def test_who_saw_an_older_version_is_told_so_in_the_dialog(site: Site) -> None:
    client = await site.client("ada", Role.OPERATOR)
    first = {"version": "1", "max_running": "4"}
    await client.post("/queues/mail/limit", data=first)
    answer = await client.post("/queues/mail/limit", data=first | {"max_running": "9"}, headers=HTMX)
    assert answer.status_code == 409
    assert "has changed since it was read" in answer.text
    assert (await queue(site)).max_running == 4
    for wrong in ("-1", "many", "99999"):
        data = {"version": "2", "max_running": wrong}
        assert (await client.post("/queues/mail/limit", data=data)).status_code >= 400, wrong
    assert (await queue(site)).max_running == 4


async def test_a_queue_tells_what_ended_in_a_day_and_leads_there(site: Site) -> None:
    await ended(site, queue="mail")
    await ended(site, "failed", queue="mail")
    client = await site.client()
    await client.post("/queues/mail/limit", data={"version": "1", "max_running": "4"})
    page = Page((await client.get("/queues")).text)
    [all_of_them] = page.all("a", href="/ui/runs?q=queue%3Amail+ended%3A%3C24h")
    [failed] = page.all("a", href="/ui/runs?q=status%3Afailed+queue%3Amail+ended%3A%3C24h")
    assert (all_of_them.text, failed.text) == ("2", "1")
