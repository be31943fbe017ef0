"""The overview says whether all is well, what needs somebody and what comes next; each card stands for itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orjson

from mainspring.domain.access import Role
from mainspring.domain.look_back import LOOKS_BACK
from mainspring.domain.run_filter import read_filter
from mainspring.errors import DatabaseUnreachableError
from mainspring.web import overview
from mainspring.web.overview import CardName
from tests.web.conftest import Page
from tests.web.runs import ended

if TYPE_CHECKING:
    import httpx2
    import pytest

    from tests.web.conftest import Site

HOUR = timedelta(hours=1)


async def page_of(client: httpx2.AsyncClient, path: str = "/") -> Page:
    answer = await client.get(path)
    assert answer.status_code == 200
    return Page(answer.text)


def filters(page: Page) -> set[str]:
    """Return the filters of the lists of runs that a page leads to."""
    addresses = [urlsplit(link.attributes.get("href", "")) for link in page.all("a")]
    return {
        parse_qs(address.query)["q"][0] for address in addresses if address.path.endswith("/runs") and address.query
    }


async def test_before_the_first_run_three_steps_with_a_program_lead_to_it(site: Site) -> None:
    page = await page_of(await site.client())
    assert page.says("Three steps to the first run")
    snippet = page.all("pre")[0].text
    compile(snippet, "shop.py", "exec")
    assert "@app.job" in snippet
    await ended(site)
    assert not (await page_of(await site.client())).says("Three steps")


async def test_figures_tell_now_and_the_span_before_and_lead_to_their_runs(site: Site) -> None:
    for _ in range(3):
        await ended(site)
    await ended(site, "failed", error_message="it broke", error_fingerprint="f1")
    await ended(site, ago=30 * HOUR)
    page = await page_of(await site.client())
    assert page.says("Success rate, 24 h 75.0 % −25.0 points to the 24 h before")
    assert page.says("Failed, 24 h 1 +1 to the 24 h before")
    assert page.says("Duration p95, 24 h 1.5 s")
    assert page.says("4 runs ended in the last 24 h: 3 succeeded, 1 failed, 0 cancelled, 0 skipped")
    assert all(not read_filter(text).faults for text in filters(page))
    assert filters(page) >= {
        "status:succeeded,failed ended:<24h",
        "status:running",
        "status:queued,retrying",
        "status:failed ended:<24h",
        "status:failed job:digest ended:<24h fingerprint:f1",
    }


async def test_the_chart_and_its_table_say_the_same(site: Site) -> None:
    await ended(site, ago=timedelta(minutes=40))
    await ended(site, "failed")
    page = await page_of(await site.client())
    [canvas] = page.all("canvas")
    drawn = orjson.loads(canvas.attributes["data-chart"])
    assert [sum(series["values"]) for series in drawn["series"]] == [1, 0, 0, 1]
    assert len(drawn["labels"]) == 48
    assert canvas.attributes["aria-label"].startswith("2 runs ended")
    assert [row.text for row in page.all("th", scope="row")] == drawn["labels"]


async def test_what_failed_leads_to_the_last_error_and_what_it_says_is_text(site: Site) -> None:
    await ended(site, "failed", error_message="first", error_fingerprint="f1", ago=2 * HOUR)
    last = await ended(site, "failed", error_message="<script>alert(1)</script>", error_fingerprint="f1")
    page = await page_of(await site.client())
    assert page.all("a", href=f"/ui/runs/{last}")
    assert page.says("<script>alert(1)</script>")
    assert not [element for element in page.all("script") if "alert" in element.text]
    assert page.says("2×")
    assert page.says("2 in a row")


async def test_a_job_that_fails_again_and_again_is_in_the_banner_until_it_succeeds(site: Site) -> None:
    for minutes in (30, 20, 10):
        await ended(site, "failed", error_message="smtp down", ago=timedelta(minutes=minutes))
    client = await site.client()
    assert (await page_of(client)).says("digest has failed 3 times in a row: smtp down.")
    await ended(site, ago=timedelta(minutes=1))
    page = await page_of(client)
    assert not page.says("times in a row")
    assert page.says("succeeded since")


async def test_the_span_is_in_the_address_and_in_that_of_every_card(site: Site) -> None:
    await ended(site)
    client = await site.client()
    for looked in LOOKS_BACK:
        page = await page_of(client, f"/?range={looked.key}")
        assert page.all("a", href=f"/ui/?range={looked.key}", aria_current="true")
        cards = [card for card in page.elements if card.attributes.get("id", "").startswith("card-")]
        assert [card.attributes["hx-get"] for card in cards] == [
            f"/ui/overview/{name}?range={looked.key}" for name in CardName
        ]
    assert (await page_of(client, "/?range=always")).all("a", href="/ui/?range=24h", aria_current="true")


async def test_a_card_that_cannot_be_read_says_so_and_the_others_stand(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(site)

    def unreachable(*_: object) -> dict[str, Any]:
        raise DatabaseUnreachableError("the database does not answer")

    client = await site.client()
    with monkeypatch.context() as patch:
        patch.setitem(overview.READERS, CardName.QUEUES, unreachable)
        page = await page_of(client)
    assert page.says("Queues: Could not load")
    [retry] = [button for button in page.all("button") if "Retry" in button.text]
    assert page.says("Latest runs")
    assert page.says("Success rate")
    again = await client.get(retry.attributes["hx-get"].removeprefix("/ui"))
    assert "Could not load" not in again.text
    assert "slots" in again.text or "No queue yet" in again.text


async def test_each_card_is_read_anew_at_the_news_of_its_topic(site: Site) -> None:
    await ended(site)
    client = await site.client()
    page = await page_of(client)
    topics = page.all("body")[0].attributes["data-topics"].split()
    for name in CardName:
        [card] = page.all("div", id=f"card-{name}")
        topic = card.attributes["hx-trigger"].removeprefix("ms:").split()[0]
        assert topic in topics
        assert (await client.get(f"/overview/{name}")).status_code == 200
    assert (await client.get("/overview/secrets")).status_code == 404


async def test_it_is_for_the_staff_of_the_platform(site: Site) -> None:
    for name, role, organization, status in (
        ("vera", Role.VIEWER, None, 200),
        ("adam", Role.ADMIN, "acme", 403),
        ("mia", Role.MEMBER, "acme", 403),
    ):
        client = await site.client(name, role, organization)
        for path in ("/", "/overview/figures", "/workers", "/queues", "/platform"):
            assert (await client.get(path)).status_code == status, (name, path)
