"""Repair: breakers that are held open and closed, and failures that are run again, from the run to the replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mainspring import CircuitBreaker
from mainspring.domain.access import Role
from mainspring.domain.breaker import BreakerState
from mainspring.domain.replay import ReplayStatus
from mainspring.store.jobs import registration
from mainspring.store.recovery import job_breakers, replays
from mainspring.store.scheduling.firing import Firing
from tests.web.conftest import Page
from tests.web.runs import ended

if TYPE_CHECKING:
    from mainspring.domain.replay import Replay
    from tests.web.conftest import Site

HTMX = {"HX-Request": "true"}
ERROR = '{"class": "unknown", "type": "OSError", "message": "no disk", "trace": "", "fingerprint": "f00d"}'


async def declare(site: Site) -> None:
    @site.app.job("pay", breaker=CircuitBreaker())
    async def _pay() -> None: ...

    firing = Firing.by(site.app.world, "dev")
    await site.app.opened.database.tx(
        lambda connection: registration.register(connection, firing, site.app.registry, version="1.0")
    )


async def all_replays(site: Site) -> list[Replay]:
    found, _ = await site.app.opened.database.read(lambda connection: replays.page(connection, "dev", skip=0, size=10))
    return found


async def state(site: Site) -> BreakerState:
    found = await site.app.opened.database.read(lambda connection: job_breakers.find(connection, "dev", ["pay"]))
    return found["pay"].state


async def test_a_breaker_is_held_open_and_closed(site: Site) -> None:
    await declare(site)
    client = await site.client("olga", Role.OPERATOR)
    page = Page((await client.get("/repair")).text)
    assert page.says("pay")
    for verb, word, after in (("hold", "Open", BreakerState.OPEN), ("close", "Closed", BreakerState.CLOSED)):
        dialog = Page((await client.get(f"/repair/breakers/pay/{verb}")).text)
        target = dialog.all("form")[0].attributes["hx-post"].removeprefix("/ui")
        answer = await client.post(target, data={"reason": "the bank"}, headers=HTMX)
        assert "ms:runs" in answer.headers["HX-Trigger"]
        assert await state(site) is after
        assert Page((await client.get("/repair/parts")).text).says(word)


async def test_failures_are_replayed_from_the_failed_run(site: Site) -> None:
    await declare(site)
    said: dict[str, Any] = {"error": ERROR, "error_message": "no disk", "error_fingerprint": "f00d"}
    run_id = await ended(site, "failed", job_name="pay", **said)
    await ended(site, "failed", job_name="pay", **said)
    client = await site.client("olga", Role.OPERATOR)
    run = Page((await client.get(f"/runs/{run_id}")).text)
    (ask,) = [button.attributes["hx-get"] for button in run.all("button") if "Fix and replay" in button.text]
    dialog = Page((await client.get(ask.removeprefix("/ui"))).text)
    assert dialog.says("2 executions failed with this error and have not been replayed.")
    fields = {
        field.attributes["name"]: field.attributes["value"]
        for field in dialog.all("input")
        if field.attributes.get("value")
    }
    answer = await client.post("/repair/replays", data=fields | {"reason": "fixed"}, headers=HTMX)
    assert answer.headers["HX-Redirect"] == "/ui/repair"
    (replay,) = await all_replays(site)
    assert (replay.status, replay.progress.requested, replay.reason) == (ReplayStatus.CANARY, 2, "fixed")
    assert Page((await client.get("/repair")).text).says("0 of 2")
    assert Page((await client.get(ask.removeprefix("/ui"))).text).says("Nothing is left to replay")
    await client.post(f"/repair/replays/{replay.id}/cancel", headers=HTMX)
    assert [item.status for item in await all_replays(site)] == [ReplayStatus.CANCELLED]


async def test_who_only_looks_is_offered_neither(site: Site) -> None:
    await declare(site)
    client = await site.client("vera", Role.VIEWER)
    page = Page((await client.get("/repair/parts")).text)
    assert page.all("button") == []
    assert (await client.post("/repair/breakers/pay/hold", headers=HTMX)).status_code == 403
    plan = {"job": "pay", "fingerprint": "f00d", "canary": "1", "per_minute": "1", "stop_after": "1"}
    assert (await client.post("/repair/replays", data=plan, headers=HTMX)).status_code == 403
