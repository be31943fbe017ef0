"""What stands on every page: the search with its commands, who has signed in, and how many alerts wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from mainspring import Every
from mainspring.domain.access import Role
from mainspring.store.jobs import registration
from mainspring.store.scheduling.firing import Firing
from mainspring.store.tables import alerts
from tests.web.conftest import Page, mounted, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

    from mainspring import JobContext, Mainspring
    from tests.web.conftest import Site


@pytest.fixture
def app(app: Mainspring) -> Mainspring:
    """An application with a job that has a schedule, and one that is off."""

    @app.job("digest", schedule=Every(minutes=5))
    async def digest(ctx: JobContext[object]) -> None: ...

    @app.job("import-orders", schedule=Every(hours=1), enabled=False)
    async def import_orders(ctx: JobContext[object]) -> None: ...

    return app


@pytest.fixture
async def site(site: Site) -> Site:
    """The dashboard of the application, whose jobs the store knows."""
    who = Firing.by(site.app.world, site.app.settings.environment)
    await site.services.opened.database.tx(lambda connection: registration.register(connection, who, site.app.registry))
    return site


async def commands(client: httpx2.AsyncClient, text: str) -> Sequence[str]:
    """Return where the dialogs of the commands are that a text finds."""
    page = Page((await client.get("/search", params={"q": text})).text)
    return [button.attributes["hx-get"].removeprefix("/ui") for button in page.all("button")]


async def test_commands_are_found_and_each_opens_a_dialog_that_asks_first(site: Site) -> None:
    client = await site.client()
    for text, found in (
        ("run dig", ["/run-a-job?job=digest"]),
        ("pause digest", ["/schedules/digest/disable"]),
        ("resume import", ["/schedules/import-orders/enable"]),
        ("pause everything", ["/pause"]),
        ("run a job", ["/run-a-job"]),
        ("digest", ["/run-a-job?job=digest", "/schedules/digest/disable"]),
        ("resume everything", []),
    ):
        assert await commands(client, text) == found
        for path in found:
            assert 'id="dialog-title"' in (await client.get(path, headers={"HX-Request": "true"})).text


async def test_who_may_change_nothing_is_offered_no_command(site: Site) -> None:
    client = await site.client("vera", Role.VIEWER)
    for text in ("run", "disable", "pause", "digest"):
        assert await commands(client, text) == []


async def test_a_dashboard_that_changes_nothing_offers_no_command(site: Site) -> None:
    read_only = mounted(site.app, site.clients, read_only=True)
    assert await commands(await read_only.client(), "pause") == []


async def test_the_menu_says_who_has_signed_in_with_which_role(site: Site) -> None:
    page = (await (await site.client("vera", Role.VIEWER)).get("/workers")).text
    assert "Signed in as vera Role: viewer" in words_of(page)


async def test_alerts_that_nobody_has_taken_are_counted_on_every_page(site: Site) -> None:
    await open_alerts(site, 2)
    client = await site.client()
    page = Page((await client.get("/workers")).text)
    (counted,) = page.all("span", id="open-alerts")
    assert (counted.attributes["data-count"], counted.attributes["data-critical"]) == ("2", "1")
    assert page.all("body")[0].attributes["data-topics"] == "alerts nodes", "and again when it changes"
    assert 'data-count="2"' in (await client.get("/open-alerts")).text


async def test_members_of_an_organization_learn_nothing_of_the_platforms_alerts(site: Site) -> None:
    await open_alerts(site, 1)
    client = await site.client("mia", Role.MEMBER, "acme")
    page = Page((await client.get("/runs")).text)
    assert page.all("span", id="open-alerts") == []
    assert "alerts" not in page.all("body")[0].attributes["data-topics"]
    assert (await client.get("/open-alerts")).status_code == 403


async def open_alerts(site: Site, count: int) -> None:
    """Open alerts, the first of them critical, and one more critical one that somebody has taken."""
    now = site.app.world.now()
    rows = [
        {
            "id": site.app.world.new_id(), "environment": "dev", "deduplication_key": str(number), "kind": "staleness",
            "severity": "critical" if number in (0, count) else "warning", "opened_at": now, "last_seen_at": now,
            "details": "{}", "acknowledged_at": now if number == count else None,
        }
        for number in range(count + 1)
    ]  # fmt: skip
    await site.services.opened.database.tx(lambda connection: connection.execute(sa.insert(alerts), rows))
